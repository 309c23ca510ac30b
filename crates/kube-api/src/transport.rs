use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::{
    Client, Config,
    client::{AuthError, Body},
};
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    ApiError,
    connect::Way,
    error::{describe_auth, describe_client},
    token_file::TokenFile,
};

/// Answers larger than this are none.
const MAX_ANSWER: usize = 1 << 20;
/// kube reads this program's own certificate and key once, and resumes sessions whatever becomes of the authorities; client-go looks
/// at the files again.
const RECHECK_AFTER: Duration = Duration::from_secs(60);
/// Certificates of exec plugins are renewed this long before they end.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// Carries one request to the API server and its answer back, with this program's current credentials.
#[derive(Debug)]
pub(crate) struct Transport {
    token: Option<TokenFile>,
    renewal: Arc<Renewal>,
}

/// Why there is no answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: ApiError,
    /// How much later, at least, the same request may fare better; `None`: never.
    pub(crate) retry: Option<Duration>,
}

/// For the next try, a short pause is enough.
const SOON: Option<Duration> = Some(Duration::ZERO);

impl Transport {
    /// Reads certificates and runs exec plugins; sends nothing.
    pub(crate) async fn open(way: Way) -> Result<Self, String> {
        let Way { config, token, files, .. } = way;
        let fingerprint = fingerprint(&files);
        let client = build(config.clone()).await?;
        let state = State { client, fingerprint, checked: Instant::now() };
        Ok(Self { token, renewal: Arc::new(Renewal { config, files, state: Mutex::new(state) }) })
    }

    /// Sends one POST. Dropping the future closes the connection it used.
    pub(crate) async fn post(&self, path: &str, body: Bytes, permission: &'static str) -> Result<Bytes, Failure> {
        let authorization = self.token.as_ref().map(TokenFile::authorization);
        let request = request(path, body, authorization.clone()).map_err(Failure::last)?;
        let client = self.renewal.client().await;
        let answer = client.send(request).await.map_err(Failure::of_sending)?;
        let status = answer.status();
        match status {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let has_another = |refused| self.token.as_ref().is_some_and(|token| token.replaced(refused));
                let retry = match authorization {
                    Some(refused) if status == StatusCode::UNAUTHORIZED && has_another(&refused) => SOON,
                    _ => None,
                };
                return Err(Failure { error: ApiError::CredentialsRefused { status, permission }, retry });
            }
            status => return Err(Failure { error: ApiError::Status(status), retry: retry_of(status, answer.headers()) }),
        }
        match Limited::new(answer.into_body(), MAX_ANSWER).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Failure::last(ApiError::Answer(format!("it has more than {MAX_ANSWER} bytes"))))
            }
            Err(error) => Err(Failure { error: ApiError::Unreachable(error), retry: SOON }),
        }
    }
}

impl Failure {
    fn last(error: ApiError) -> Self {
        Self { error, retry: None }
    }

    fn of_sending(error: kube::Error) -> Self {
        match error {
            kube::Error::Service(source) => match source.downcast::<AuthError>() {
                Ok(error) => Self::last(ApiError::NoCredentials(describe_auth(&error))),
                Err(source) => Self { error: ApiError::Unreachable(source), retry: SOON },
            },
            kube::Error::Auth(error) => Self::last(ApiError::NoCredentials(describe_auth(&error))),
            error => Self { error: ApiError::Unreachable(Box::new(error)), retry: SOON },
        }
    }
}

fn request(path: &str, body: Bytes, authorization: Option<HeaderValue>) -> Result<Request<Body>, ApiError> {
    let json = HeaderValue::from_static("application/json");
    let mut request =
        Request::builder().method(Method::POST).uri(path).header(header::ACCEPT, json.clone()).header(header::CONTENT_TYPE, json);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    request.body(Body::from(body)).map_err(|error| ApiError::Unreachable(Box::new(error)))
}

/// Redirects are never followed, so they are no answers.
fn retry_of(status: StatusCode, headers: &http::HeaderMap) -> Option<Duration> {
    if !matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504) {
        return None;
    }
    let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    after.map_or(SOON, |seconds| Some(Duration::from_secs(seconds)))
}

/// Makes a new client when this program's own certificate changed, or the authorities.
struct Renewal {
    config: Config,
    files: Vec<PathBuf>,
    state: Mutex<State>,
}

struct State {
    client: Client,
    fingerprint: u64,
    checked: Instant,
}

impl Renewal {
    /// The client to use now. One caller a minute looks whether it is still the right one; the others go on.
    async fn client(self: &Arc<Self>) -> Client {
        let now = Instant::now();
        let fingerprint = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let ends = ends_soon(&state.client);
            let is_due = now.duration_since(state.checked) >= RECHECK_AFTER && (ends || !self.files.is_empty());
            if !is_due {
                return state.client.clone();
            }
            state.checked = now;
            if ends { None } else { Some(state.fingerprint) }
        };
        // Detached, so that a caller who leaves does not undo it.
        let renewal = Arc::clone(self);
        match tokio::spawn(async move { renewal.renew(fingerprint).await }).await {
            Ok(client) => client,
            Err(_) => self.state.lock().unwrap_or_else(PoisonError::into_inner).client.clone(),
        }
    }

    /// Makes a new client unless the files still have this fingerprint.
    async fn renew(&self, unless: Option<u64>) -> Client {
        let files = self.files.clone();
        let fingerprint = spawn_blocking(move || fingerprint(&files)).await.unwrap_or_default();
        let built = match unless == Some(fingerprint) {
            true => None,
            false => Some(build(self.config.clone()).await),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match built {
            None => {}
            Some(Ok(client)) => {
                state.client = client;
                state.fingerprint = fingerprint;
                tracing::info!("The certificates for the API server were renewed");
            }
            Some(Err(error)) => tracing::warn!(error, "The certificates for the API server cannot be renewed; the last ones stay in use"),
        }
        state.client.clone()
    }
}

impl std::fmt::Debug for Renewal {
    /// A kubeconfig holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewal").field("cluster_url", &self.config.cluster_url).finish_non_exhaustive()
    }
}

/// kube reads files and runs exec plugins where it stands. It takes aws-lc-rs where the process has no default provider.
async fn build(config: Config) -> Result<Client, String> {
    match spawn_blocking(move || Client::try_from(config)).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(describe_client(&error)),
        Err(_) => Err("making the client failed".to_owned()),
    }
}

fn ends_soon(client: &Client) -> bool {
    client.valid_until().is_some_and(|end| SystemTime::from(end).checked_sub(RENEW_BEFORE).is_none_or(|renew| renew <= SystemTime::now()))
}

/// Tells contents apart; a file that cannot be read is one of them.
fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use testkit::{
        api::{Api as Server, Credential, Kind},
        certs::Authority,
        wait::in_time,
    };

    use super::*;
    use crate::ApiSettings;
    use go_compat::ProxyEnvironment;

    async fn transport(kubeconfig: PathBuf) -> Transport {
        let settings = ApiSettings { kubeconfig: Some(kubeconfig), ..ApiSettings::default() };
        let way = Way::find(&settings, &ProxyEnvironment::default()).await.expect("a way");
        Transport::open(way).await.expect("a transport")
    }

    impl Transport {
        async fn review(&self) -> Result<Bytes, Failure> {
            let body = Bytes::from_static(br#"{"spec":{"token":"x"}}"#);
            in_time("a review", self.post("/apis/authentication.k8s.io/v1/tokenreviews", body, "")).await
        }

        fn a_minute_passes(&self) {
            let mut state = self.renewal.state.lock().expect("no panic");
            state.checked = state.checked.checked_sub(RECHECK_AFTER).expect("a machine that is up for a minute");
        }
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_presented_and_a_broken_one_leaves_the_last() {
        let authority = Authority::new("ca");
        let (first, second) = (authority.client("proxy", &[]), authority.client("proxy", &[]));
        let server = Server::start_tls(&authority.server()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = server.kubeconfig(folder.path(), Some(authority.pem()), Credential::Certificate(&first));
        let transport = transport(kubeconfig).await;
        let presented = async || {
            transport.review().await.expect("an answer");
            let review = server.reviews(Kind::TokenReview).pop().expect("a review");
            review.request.certificate.expect("a certificate")
        };
        let leaf = |pair: &testkit::certs::Pair| pair.certificates().remove(0).to_vec();
        assert_eq!(presented().await, leaf(&first));

        second.write(folder.path(), "api-client");
        assert_eq!(presented().await, leaf(&first), "files are not read for every call");
        transport.a_minute_passes();
        assert_eq!(presented().await, leaf(&second));

        fs::write(folder.path().join("api-client.key"), "broken").expect("written");
        transport.a_minute_passes();
        assert_eq!(presented().await, leaf(&second));
    }

    #[tokio::test]
    async fn a_server_whose_authority_is_withdrawn_reviews_nothing_a_minute_later() {
        let authority = Authority::new("ca");
        let server = Server::start_tls(&authority.server()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = server.kubeconfig(folder.path(), Some(authority.pem()), Credential::Token("t"));
        let transport = transport(kubeconfig).await;
        assert!(transport.review().await.is_ok());
        fs::write(folder.path().join("api-ca.crt"), Authority::new("other").pem()).expect("written");
        assert!(transport.review().await.is_ok(), "the connection is still there");
        transport.a_minute_passes();
        assert!(transport.review().await.is_err());
    }
}
