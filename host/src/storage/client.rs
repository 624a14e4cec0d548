//! Clients of object stores, made from the environment, that never overwrite.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3CopyIfNotExists};
use object_store::azure::{
    AzureAuthorizer, AzureConfigKey, AzureCredential, AzureCredentialProvider,
    MicrosoftAzureBuilder,
};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::{ClientOptions, HeaderValue, ObjectStore, Result, RetryConfig};

/// Variables that count instead of those of the environment.
#[derive(Debug, Default)]
pub(super) struct Settings(pub(super) Vec<(String, String)>);

/// One bucket's client, in the forms in which it is used.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Uploads in parts that can be completed at will; without it, objects are put whole.
    pub(super) parts: Option<Arc<dyn MultipartStore>>,
    pub(super) read_only: bool,
    transport: Option<HttpClient>,
}

impl Client {
    pub(super) fn whole(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            parts: None,
            read_only: false,
            transport: None,
        }
    }

    fn in_parts<S: ObjectStore + MultipartStore>(store: S) -> Self {
        let store = Arc::new(store);
        Self {
            parts: Some(Arc::clone(&store) as _),
            ..Self::whole(store)
        }
    }

    /// What stands behind standard input and output: a store that is empty.
    pub(super) fn nothing() -> Self {
        Self::whole(Arc::new(InMemory::new()))
    }

    pub(super) fn local() -> Self {
        static STORE: OnceLock<Arc<LocalFileSystem>> = OnceLock::new();
        Self::whole(Arc::clone(STORE.get_or_init(Arc::default)) as _)
    }

    /// A store of one object, `url`, over this client's connections.
    pub(super) fn http_store(&self, url: &url::Url) -> Result<Self> {
        let mut builder = HttpBuilder::new()
            .with_url(url.as_str())
            .with_retry(retry());
        if let Some(transport) = &self.transport {
            builder = builder.with_http_connector(Connected(transport.clone()));
        }
        Ok(Self {
            read_only: true,
            ..Self::whole(Arc::new(builder.build()?))
        })
    }
}

/// The connections of all `http(s)` URLs. `stays`: an answer that leads to another server is taken for what it is.
pub(super) fn http_transport(stays: bool) -> Result<Client> {
    let options = ClientOptions::new()
        .with_allow_http(true)
        .with_timeout_disabled()
        .with_read_timeout(READ_TIMEOUT);
    let inner = match stays {
        true => staying()?,
        false => ReqwestConnector::default().connect(&options)?,
    };
    Ok(Client {
        transport: Some(HttpClient::new(AnySizeService { inner })),
        ..Client::nothing()
    })
}

/// A client that follows redirects within one server only.
fn staying() -> Result<HttpClient> {
    let origin = |url: &url::Url| {
        (
            url.scheme().to_owned(),
            url.host_str().map(str::to_owned),
            url.port(),
        )
    };
    let policy = reqwest::redirect::Policy::custom(move |attempt| {
        let first = attempt.previous().first().map(origin);
        match first == Some(origin(attempt.url())) && attempt.previous().len() <= REDIRECTS_MAX {
            true => attempt.follow(),
            false => attempt.stop(),
        }
    });
    let builder = reqwest::Client::builder()
        .redirect(policy)
        .read_timeout(READ_TIMEOUT);
    let client = builder
        .build()
        .map_err(|error| object_store::Error::Generic {
            store: "HTTP",
            source: Box::new(error),
        })?;
    Ok(HttpClient::new(client))
}

/// Redirects that are followed one after the other.
const REDIRECTS_MAX: usize = 10;

/// How long a connection may be silent. Whole requests have no limit of their own:
/// a source is read for as long as its lines take to process.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// Ten retries, spread over a stream's whole life rather than over its first three minutes.
fn retry() -> RetryConfig {
    RetryConfig {
        retry_timeout: Duration::from_secs(12 * 3600),
        ..RetryConfig::default()
    }
}

impl Settings {
    /// Those that the environment has with `prefix`, and over them those that are set here.
    fn pairs(&self, prefix: &str) -> Vec<(String, String)> {
        let limits = [
            ("TIMEOUT", "86400 seconds"),
            ("READ_TIMEOUT", "120 seconds"),
        ];
        let limits = limits
            .iter()
            .map(|(key, value)| (format!("{prefix}{key}"), (*value).to_owned()))
            .filter(|(key, _)| std::env::var_os(key).is_none());
        let set = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        let pairs = limits.chain(set.cloned());
        pairs.map(|(k, v)| (k.to_ascii_lowercase(), v)).collect()
    }
}

pub(super) fn s3(bucket: &str, settings: &Settings) -> Result<Client> {
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry())
        .with_http_connector(CreateOnly::default());
    let copy = AmazonS3ConfigKey::CopyIfNotExists;
    if builder.get_config_value(&copy).is_none() {
        builder = builder.with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
    }
    for (key, value) in settings.pairs("AWS_") {
        builder = builder.with_config(key.parse()?, value);
    }
    Ok(Client::in_parts(builder.build()?))
}

pub(super) fn gcs(bucket: &str, settings: &Settings) -> Result<Client> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_retry(retry())
        .with_http_connector(CreateOnly::default());
    for (key, value) in settings.pairs("GOOGLE_") {
        builder = builder.with_config(key.parse()?, value);
    }
    Ok(Client::in_parts(builder.build()?))
}

pub(super) fn azure(container: &str, settings: &Settings) -> Result<Client> {
    let connector = CreateOnly::default();
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_retry(retry())
        .with_http_connector(connector.clone());
    for (key, value) in settings.pairs("AZURE_") {
        builder = builder.with_config(key.parse()?, value);
    }
    let account = builder.get_config_value(&AzureConfigKey::AccountName);
    let store = builder.build()?;
    let signer = (account.unwrap_or_default(), Arc::clone(store.credentials()));
    connector.azure.get_or_init(|| signer);
    Ok(Client::in_parts(store))
}

/// The size of an object whose server does not say it.
pub(super) const SIZE_UNKNOWN: u64 = u64::MAX;

/// Lets `object_store` read what is sent in chunks or until the connection closes: it insists on
/// a size. Whether a body is complete is seen below this, by what was really sent.
#[derive(Debug)]
struct AnySizeService {
    inner: HttpClient,
}

#[async_trait]
impl HttpService for AnySizeService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = self.inner.execute(request).await?;
        if response.status().is_success() {
            let size = response.headers_mut().entry("content-length");
            size.or_insert_with(|| SIZE_UNKNOWN.into());
        }
        Ok(response)
    }
}

/// Hands out connections that exist already.
#[derive(Debug, Clone)]
struct Connected(HttpClient);

impl HttpConnector for Connected {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient> {
        Ok(self.0.clone())
    }
}

/// Adds to the request that completes an upload in parts the condition that the object does not
/// exist yet; `object_store` has that condition for objects that are put whole, but not for these.
#[derive(Debug, Clone, Default)]
struct CreateOnly {
    azure: Arc<OnceLock<(String, AzureCredentialProvider)>>,
}

impl HttpConnector for CreateOnly {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let service = CreateOnlyService {
            connector: self.clone(),
            inner: ReqwestConnector::default().connect(options)?,
        };
        Ok(HttpClient::new(service))
    }
}

#[derive(Debug)]
struct CreateOnlyService {
    connector: CreateOnly,
    inner: HttpClient,
}

#[async_trait]
impl HttpService for CreateOnlyService {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match completes(request.method().as_str(), request.uri().query()) {
            Completes::Nothing => {}
            Completes::Parts => add_conditions(&mut request),
            Completes::Blocks => {
                add_conditions(&mut request);
                self.connector.sign_again(&mut request).await?;
            }
        }
        self.inner.execute(request).await
    }
}

/// S3 looks at the first condition, GCS at the second. Neither has to be signed: S3 demands that
/// of `x-amz-…` headers alone, and GCS requests carry a bearer token.
fn add_conditions(request: &mut HttpRequest) {
    let headers = request.headers_mut();
    headers.insert("if-none-match", HeaderValue::from_static("*"));
    headers.insert("x-goog-if-generation-match", HeaderValue::from_static("0"));
}

impl CreateOnly {
    /// A shared key signs `If-None-Match` too; tokens and SAS URLs do not.
    async fn sign_again(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        request.headers_mut().remove("x-goog-if-generation-match");
        let Some((account, credentials)) = self.azure.get() else {
            return Ok(());
        };
        let failed = |e| HttpError::new(HttpErrorKind::Unknown, e);
        let credential = credentials.get_credential().await.map_err(failed)?;
        if matches!(*credential, AzureCredential::AccessKey(_)) {
            request.headers_mut().remove("authorization");
            let authorizer = AzureAuthorizer::new(&credential, account);
            authorizer.try_authorize(request).map_err(failed)?;
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Completes {
    Nothing,
    /// An upload in parts, on S3 or GCS.
    Parts,
    /// A list of blocks, on Azure.
    Blocks,
}

fn completes(method: &str, query: Option<&str>) -> Completes {
    let has = |name: &str| {
        let mut pairs = query.unwrap_or_default().split('&');
        pairs.any(|pair| pair == name || pair.split('=').next() == Some(name))
    };
    match method {
        "POST" if has("uploadId") => Completes::Parts,
        "PUT" if has("comp=blocklist") => Completes::Blocks,
        _ => Completes::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_completions_get_a_condition() {
        let check = |method, query, want| assert_eq!(completes(method, query), want);
        check("POST", Some("uploadId=abc"), Completes::Parts);
        check("PUT", Some("comp=blocklist"), Completes::Blocks);
        check("PUT", Some("sv=1&comp=blocklist"), Completes::Blocks);
        check("PUT", Some("partNumber=1&uploadId=abc"), Completes::Nothing);
        check("DELETE", Some("uploadId=abc"), Completes::Nothing);
        check("POST", Some("uploads="), Completes::Nothing);
        check("POST", Some("delete"), Completes::Nothing);
        check("PUT", Some("comp=block&blockid=x"), Completes::Nothing);
        check("PUT", None, Completes::Nothing);
    }
}
