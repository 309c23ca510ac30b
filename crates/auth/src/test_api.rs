//! An API server for tests.

use std::sync::Arc;

use kube_api::{Api, ApiSettings};
use testkit::api::{Api as Server, Credential};

/// A fake API server, and the way to it.
pub(crate) async fn api() -> (Server, Arc<Api>) {
    let (server, folder) = (Server::start().await, tempfile::tempdir().expect("a folder"));
    let kubeconfig = server.kubeconfig(folder.path(), None, Credential::Token("own-secret"));
    let settings = ApiSettings { kubeconfig: Some(kubeconfig), ..ApiSettings::default() };
    let api = Api::connect(settings).await.expect("a good kubeconfig");
    (server, Arc::new(api))
}
