//! `play --http`: the titles of a server over HTTP, for players and browsers on this machine.
//!
//! A request for bytes of a title becomes a fetch of them, over a link that all requests share.
//! What is asked of whom is kept from others by three things: a secret in the path, which a page
//! elsewhere cannot guess; the Host header, which it cannot choose; and no CORS header, without
//! which it may not read what comes.

mod conditional;
mod event;
mod failure;
mod host;
mod media_type;
mod page;
mod title;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{
    CACHE_CONTROL, HOST, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use quick_cache::sync::Cache;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Description, Error, Fetches, Link, PlaySettings, Title};
use crate::http::{Body, HttpListener, not_found, refuse_method, text};

pub(crate) use event::BridgeEvent;

/// How long the server's list of titles is good for.
const LIST_AGE: Duration = Duration::from_secs(1);

/// Of how many titles it is remembered what they are.
const DESCRIPTIONS: usize = 256;

/// The least time that a request waits for a server that is away, if it may wait at all.
const REQUEST_WAIT: Duration = Duration::from_secs(10);

/// How long the sessions of requests may take to end when the bridge does.
const STOP_TIME: Duration = Duration::from_secs(2);

/// A server's titles over HTTP.
pub(crate) struct Bridge {
    link: Link,
    /// How media is asked for, but for which.
    settings: PlaySettings,
    /// The only title that is shown, if only one is.
    only: Option<String>,
    /// The first part of every path.
    secret: String,
    address: SocketAddr,
    requests: Arc<Fetches>,
    descriptions: Cache<String, Arc<Description>>,
    titles: tokio::sync::Mutex<Option<(Instant, Arc<[Title]>)>>,
    last_failure: Mutex<Option<Error>>,
    /// What is fetched for requests.
    plays: TaskTracker,
    /// Cancelled when it is to end.
    stop: CancellationToken,
    report: Box<dyn Fn(BridgeEvent) + Send + Sync>,
}

impl Bridge {
    /// A bridge to where `link` leads that will listen at this address. It shows one title, where
    /// the settings name one, or all.
    pub(crate) fn new(
        link: Link,
        settings: PlaySettings,
        address: SocketAddr,
        requests: Arc<Fetches>,
        report: impl Fn(BridgeEvent) + Send + Sync + 'static,
    ) -> Self {
        let only = settings.title.clone();
        let wait = settings.wait.max(settings.retry_for.min(REQUEST_WAIT));
        Self {
            link,
            settings: PlaySettings { wait, ..settings },
            only,
            secret: format!("{:032x}", rand::random::<u128>()),
            address,
            requests,
            descriptions: Cache::new(DESCRIPTIONS),
            titles: tokio::sync::Mutex::default(),
            last_failure: Mutex::default(),
            plays: TaskTracker::new(),
            stop: CancellationToken::new(),
            report: Box::new(report),
        }
    }

    /// Where its page is.
    pub(crate) fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            // No browser goes to nowhere in particular; this machine is always among it.
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}/{}/", self.secret)
    }

    /// What a player is to open: the only title, or the list of all.
    pub(crate) fn player_url(&self) -> String {
        match &self.only {
            Some(title) => format!("{}{}", self.url(), page::path_of(title)),
            None => format!("{}playlist.m3u8", self.url()),
        }
    }

    /// Makes sure that the server is there and has what is to be shown.
    ///
    /// # Errors
    /// It has not, or cannot be reached within the time that the first connection may take.
    pub(crate) async fn check(&self, wait: Duration) -> Result<(), Error> {
        let began = Instant::now();
        let mut delay = Duration::from_millis(250);
        loop {
            let checked = match &self.only {
                Some(title) => self.describe(title).await.map(drop),
                None => self.titles().await.map(drop),
            };
            let again = match &checked {
                Err(Error::Transport(error)) => error.is_transient().then_some(delay),
                // A busy server says how soon it is worth asking again.
                Err(Error::Session(end)) => end.retry_after(),
                _ => None,
            };
            let Some(again) = again.filter(|again| began.elapsed() + *again <= wait) else {
                return checked;
            };
            tokio::time::sleep(again).await;
            delay = (delay * 2).min(Duration::from_secs(5));
        }
    }

    /// Answers requests until `shutdown` is cancelled.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: HttpListener,
        shutdown: CancellationToken,
    ) {
        (self.report)(BridgeEvent::Bridge {
            url: self.url(),
            is_open: !self.address.ip().is_loopback(),
            addr: self.address,
        });
        let bridge = self.clone();
        let answer = move |request| {
            let bridge = bridge.clone();
            async move { bridge.answer(request).await }
        };
        listener.serve(answer, shutdown).await;
        // The server hears of it.
        self.stop.cancel();
        self.plays.close();
        let _ = timeout(STOP_TIME, self.plays.wait()).await;
        self.link.close().await;
    }

    /// The newest failure of the server or of the way to it.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The answer to a request, with what keeps browsers from taking it for more than it is.
    async fn answer<B>(self: Arc<Self>, request: Request<B>) -> Response<Body> {
        let mut response = self.route(&request).await;
        let headers = response.headers_mut();
        for (name, value) in [
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // The address holds the secret.
            (REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }

    async fn route<B>(self: &Arc<Self>, request: &Request<B>) -> Response<Body> {
        if let Some(refused) = refuse_method(request.method()) {
            return refused;
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) => host,
            _ => return text(StatusCode::BAD_REQUEST, "one Host header is needed\n"),
        };
        if !host::is_ours(host, self.address) {
            return text(StatusCode::FORBIDDEN, "this host is not served here\n");
        }
        let Some(path) = self.below_secret(request.uri().path()) else { return not_found() };
        let is_head = request.method() == Method::HEAD;
        match path {
            "" => page::HTML.response(),
            "page.js" => page::SCRIPT.response(),
            "page.css" => page::STYLE.response(),
            "icon.svg" => page::ICON.response(),
            "playlist.m3u8" => self.list(page::playlist).await,
            "titles.json" => self.list(page::titles).await,
            "link.json" => page::link(&self.link, &self.requests).await,
            path => {
                match path.strip_prefix("t/").map(|path| percent_decode_str(path).decode_utf8()) {
                    Some(Ok(title)) => {
                        let (headers, query) = (request.headers(), request.uri().query());
                        self.title(&title, query, headers, is_head).await
                    }
                    _ => not_found(),
                }
            }
        }
    }

    /// What follows the secret in a path.
    fn below_secret<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (secret, rest) = path.strip_prefix('/')?.split_once('/')?;
        // In constant time, as far as a hash of both is.
        (blake3::hash(secret.as_bytes()) == blake3::hash(self.secret.as_bytes())).then_some(rest)
    }

    /// A list of the titles.
    async fn list(&self, format: impl Fn(&[Title]) -> Response<Body>) -> Response<Body> {
        match self.titles().await {
            Ok(titles) => format(&titles),
            Err(error) => self.failed(error),
        }
    }

    /// The titles that are shown.
    async fn titles(&self) -> Result<Arc<[Title]>, Error> {
        // Held while the server is asked: who comes meanwhile gets the same answer.
        let mut known = self.titles.lock().await;
        if let Some((at, titles)) = &*known
            && at.elapsed() < LIST_AGE
        {
            return Ok(titles.clone());
        }
        let mut titles = self.link.titles(self.settings.token.as_ref()).await?;
        if let Some(only) = &self.only {
            titles.retain(|title| title.title == *only);
        }
        let titles: Arc<[Title]> = titles.into();
        *known = Some((Instant::now(), titles.clone()));
        Ok(titles)
    }

    /// The answer where the server or the way to it failed.
    fn failed(&self, error: Error) -> Response<Body> {
        let response = failure::response(&error);
        self.note_failure(error);
        response
    }

    fn note_failure(&self, error: Error) {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
