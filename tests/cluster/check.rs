//! `kube-rbac-proxy check` before a real API server.

use testkit::{cluster, process::Proxy};

use crate::scene::Scene;

#[tokio::test]
async fn check_asks_for_the_permissions_that_are_needed() {
    let Some(cluster) = cluster::guest().await else { return };
    let check = async |scene: &Scene<'_>| Proxy::run(&[vec!["check".to_owned()], scene.flags(&[])].concat()).await;

    let exit = check(&Scene::without_rights(&cluster).await).await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    for needed in ["create tokenreviews.authentication.k8s.io", "create subjectaccessreviews.authorization.k8s.io"] {
        assert!(exit.output.contains(&format!("Error: this program may not `{needed}`")), "{needed}: {}", exit.output);
    }

    let mut scene = Scene::new(&cluster).await;
    let exit = check(&scene).await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(exit.output.contains("Warning: --auth-token-audiences is not given"), "{}", exit.output);
    assert!(!exit.output.contains("may do everything"), "{}", exit.output);

    scene.bind("proxy-is-admin", "cluster-admin", scene.subject("proxy")).await;
    let everything = serde_json::json!({ "verb": "*", "group": "*", "resource": "*" });
    scene.until_allowed(&serde_json::json!({ "user": scene.user("proxy"), "resourceAttributes": everything })).await;
    let exit = check(&scene).await;
    assert!(exit.code == Some(0) && exit.output.contains("Warning: this program's own credentials may do everything"), "{}", exit.output);
}
