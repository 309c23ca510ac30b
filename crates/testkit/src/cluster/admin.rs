use std::{sync::mpsc, time::Duration};

use http::Request;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// A client of the API server that speaks JSON objects as they are written in manifests.
///
/// Its connections live on the cluster's own runtime: each test has a runtime of its own, which ends with it.
#[derive(Clone)]
pub struct Admin {
    client: Client,
    runtime: Handle,
}

/// What the API server answered to a request that it did not carry out, or why there was no answer.
#[derive(Debug)]
pub struct ApiFault(Box<kube::Error>);

/// What a ServiceAccount token is asked for with.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest<'a> {
    /// The token's audiences; none means the API server's own.
    pub audiences: &'a [&'a str],
    /// The name and UID of the Secret that the token dies with.
    pub bound_to: Option<(&'a str, &'a str)>,
}

impl Admin {
    pub(super) async fn connect(kubeconfig: Kubeconfig) -> Self {
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        // Its back-off would slow the wait for an API server that starts.
        config.default_retry = false;
        Self { client: Client::try_from(config).unwrap(), runtime: Handle::current() }
    }

    /// Sends a request and returns the answer's JSON, or its text as a JSON string when it is none.
    ///
    /// # Errors
    /// There is no answer, or it is not 2xx.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ApiFault> {
        let content_type = if method == "PATCH" { "application/apply-patch+yaml" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let request = request.body(body.map(|body| body.to_string().into_bytes()).unwrap_or_default()).unwrap();
        let client = self.client.clone();
        let answer = self.runtime.spawn(async move { client.request_text(request).await }).await.unwrap();
        let text = answer.map_err(|error| ApiFault(Box::new(error)))?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Reads what is at a path.
    pub async fn get(&self, path: &str) -> Result<Value, ApiFault> {
        self.call("GET", path, None).await
    }

    /// Creates an object or makes it what the manifest says, and returns it as it then is.
    pub async fn apply(&self, object: &Value) -> Value {
        let path = format!("{}?fieldManager=tests&force=true", path_of(object));
        self.call("PATCH", &path, Some(object)).await.unwrap_or_else(|fault| panic!("{path}: {fault}"))
    }

    /// Deletes the object that the manifest names.
    pub async fn delete(&self, object: &Value) {
        let path = path_of(object);
        self.call("DELETE", &path, None).await.unwrap_or_else(|fault| panic!("{path}: {fault}"));
    }

    /// Deletes what is still there of the objects, from any thread, within seconds or not at all.
    pub fn delete_at_last(&self, objects: Vec<Value>) {
        let (done, wait) = mpsc::channel();
        let admin = self.clone();
        self.runtime.spawn(async move {
            for object in &objects {
                let _ = admin.call("DELETE", &path_of(object), None).await;
            }
            let _ = done.send(());
        });
        let _ = wait.recv_timeout(Duration::from_secs(5));
    }

    /// A new token of a ServiceAccount, good for an hour.
    pub async fn token(&self, namespace: &str, name: &str, request: &TokenRequest<'_>) -> String {
        let mut spec = json!({ "expirationSeconds": 3600, "audiences": request.audiences });
        if let Some((secret, uid)) = request.bound_to {
            spec["boundObjectRef"] = json!({ "apiVersion": "v1", "kind": "Secret", "name": secret, "uid": uid });
        }
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec });
        let answer = self.call("POST", &path, Some(&body)).await.unwrap_or_else(|fault| panic!("{path}: {fault}"));
        answer["status"]["token"].as_str().unwrap().to_owned()
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl ApiFault {
    /// The answer's status; `None` when there was none.
    pub fn status(&self) -> Option<u16> {
        match &*self.0 {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }
}

impl std::fmt::Display for ApiFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for ApiFault {}

/// Where the API server has an object of the kinds that the suites use.
fn path_of(object: &Value) -> String {
    let field = |value: &Value| value.as_str().unwrap_or_else(|| panic!("an object without kind and name: {object}")).to_owned();
    let (version, kind) = (field(&object["apiVersion"]), field(&object["kind"]));
    let name = field(&object["metadata"]["name"]);
    let prefix = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let namespace = object["metadata"]["namespace"].as_str().map(|namespace| format!("/namespaces/{namespace}"));
    // Every kind used here has a regular plural.
    format!("{prefix}{}/{}s/{name}", namespace.unwrap_or_default(), kind.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_where_the_api_server_has_them() {
        let role =
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "a", "namespace": "b" } });
        assert_eq!(path_of(&role), "/apis/rbac.authorization.k8s.io/v1/namespaces/b/rolebindings/a");
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "a" } });
        assert_eq!(path_of(&namespace), "/api/v1/namespaces/a");
    }
}
