//! The bytes of a title.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED,
};
use hyper::{Response, StatusCode};
use tokio::sync::{oneshot, watch};
use tracing::debug;

use super::conditional::{Resource, Selection};
use super::media_type::content_type;
use super::{Bridge, BridgeEvent};
use crate::client::{
    self, Description, Error, MediaStream, Outcome, PlayEvent, PlaySettings, Rate, RunningFetch,
    Sink, Start,
};
use crate::http::{Body, full, not_found, stream};
use crate::protocol::{MAX_TITLE, NackCode};
use crate::session::client::End;

/// How often a title may change while a request for it is answered.
const MOST_CHANGES: usize = 3;

/// How long ago a broadcast is to begin: `ago=SECONDS` in a query, which a file has no use for.
fn start_ago(query: &str) -> Duration {
    let ago = query.split('&').find_map(|pair| pair.strip_prefix("ago=")?.parse().ok());
    Duration::from_secs(ago.unwrap_or(0))
}

/// What the conditions of a request are compared with.
fn resource(description: &Description) -> Resource {
    let Description { size, validator, modified, .. } = description;
    let hex = || validator.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let since = modified.map(Duration::from_millis);
    let is_live = size.is_none();
    Resource {
        size: *size,
        etag: (!validator.is_empty() && !is_live).then(|| format!("\"{}\"", hex())),
        modified: since
            .filter(|_| !is_live)
            .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)),
    }
}

impl Bridge {
    /// The answer to a request for a title.
    pub(super) async fn title(
        self: &Arc<Self>,
        title: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        is_head: bool,
    ) -> Response<Body> {
        let ago = query.map_or(Duration::ZERO, start_ago);
        let is_other = self.only.as_ref().is_some_and(|only| only != title);
        if title.is_empty() || title.len() > MAX_TITLE || is_other {
            return not_found();
        }
        // What is remembered is good for a fetch, which shows whether it still holds. What was live
        // may have ended.
        let remembered = self.descriptions.get(title);
        let mut remembered = remembered.filter(|known| !is_head && known.size.is_some());
        let mut tries = 0..MOST_CHANGES;
        loop {
            let is_remembered = remembered.is_some();
            let known = match remembered.take() {
                Some(known) => known,
                None => match self.describe(title).await {
                    Ok(known) => known,
                    Err(error) => return self.failed(error),
                },
            };
            let resource = resource(&known);
            let selection = match is_head {
                true => Selection::precondition(headers, &resource).unwrap_or(Selection::Whole),
                false => Selection::of(headers, &resource),
            };
            let part = match &selection {
                Selection::Whole if !is_head && resource.size != Some(0) => {
                    Some((0, resource.size))
                }
                Selection::Part(range) => Some((range.start, Some(range.end))),
                _ if is_remembered => continue,
                _ => None,
            };
            let media = match part {
                None => Ok(None),
                Some((start, end)) => self.fetch(title, &known, start, end, ago).await.map(Some),
            };
            match media {
                Ok(media) => return response(&selection, &known, &resource, media),
                Err(error) if is_change(&error) && tries.next().is_some() => {}
                Err(error) => return self.failed(error),
            }
        }
    }

    /// Asks the server what a title is, and remembers it.
    pub(super) async fn describe(&self, title: &str) -> Result<Arc<Description>, Error> {
        let described = self.link.describe(title, self.settings.token.as_ref()).await;
        let description = described.inspect_err(|_| _ = self.descriptions.remove(title))?;
        let description = Arc::new(description);
        self.descriptions.insert(title.to_owned(), description.clone());
        Ok(description)
    }

    /// Begins to fetch a stretch of a title, which ends when nobody reads it any more.
    async fn fetch(
        self: &Arc<Self>,
        title: &str,
        description: &Description,
        start: u64,
        end: Option<u64>,
        ago: Duration,
    ) -> Result<MediaStream, Error> {
        let settings = PlaySettings {
            title: Some(title.to_owned()),
            start: match description.size {
                Some(_) => Start::Byte(start),
                None => Start::Ago(ago),
            },
            end,
            validator: Some(description.validator.clone())
                .filter(|bytes| !bytes.is_empty() && description.size.is_some()),
            rate: Rate::Max,
            verify: false,
            require_digest: false,
            script: None,
            ..self.settings.clone()
        };
        let (sink, stream) = Sink::stream();
        let (begin, begun) = oneshot::channel();
        let play = self.plays.spawn(play(self.clone(), settings, sink, end, begin));
        match begun.await {
            Ok(()) => Ok(stream),
            Err(_) => match play.await {
                Ok(Some(error)) => Err(error),
                // It stopped because nobody waits for it, or panicked, which was said.
                _ => Err(Error::Session(End::Cut)),
            },
        }
    }
}

/// Plays what a request asks for. Returns why it failed if it did before `begin` was told that the
/// server granted it; the bridge notes it otherwise.
async fn play(
    bridge: Arc<Bridge>,
    settings: PlaySettings,
    sink: Sink,
    end: Option<u64>,
    begin: oneshot::Sender<()>,
) -> Option<Error> {
    let began = Instant::now();
    let title = settings.title.clone().unwrap_or_default();
    let start = match settings.start {
        Start::Byte(start) => start,
        _ => 0,
    };
    let (publish, snapshot) = watch::channel(client::Snapshot::default());
    let request = bridge.requests.add(RunningFetch::new(title.clone(), start, end, snapshot));
    let _running = RunningGuard { bridge: bridge.clone(), request };
    let mut begin = Some(begin);
    let report = |event| match event {
        PlayEvent::Accepted { start: accepted, .. } => {
            if let Some(begin) = begin.take() {
                let (title, start) = (title.clone(), accepted.unwrap_or(start));
                (bridge.report)(BridgeEvent::Request { request, title, start, end });
                let _ = begin.send(());
            }
        }
        PlayEvent::Reconnecting { attempt, delay, offset, cause } => {
            (bridge.report)(BridgeEvent::Reconnecting { request, attempt, delay, offset, cause });
        }
        _ => {}
    };
    let Bridge { link, stop, .. } = &*bridge;
    let played = client::play_until(stop, link, &settings, sink, publish, report).await;
    let has_begun = begin.is_none();
    if !has_begun {
        debug!(title, ?played, "a request came to nothing");
        return played.err();
    }
    let complete = matches!(played, Ok(Outcome::Complete(_)));
    let bytes = bridge.requests.remove(request);
    let failure = played.err();
    let cause = failure.as_ref().map(ToString::to_string);
    let elapsed = began.elapsed();
    (bridge.report)(BridgeEvent::RequestClosed { request, title, complete, bytes, elapsed, cause });
    if let Some(error) = failure {
        bridge.note_failure(error);
    }
    None
}

/// Takes a request out however it ends.
struct RunningGuard {
    bridge: Arc<Bridge>,
    request: u32,
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.bridge.requests.remove(self.request);
    }
}

/// Whether the server has other media than is known.
fn is_change(error: &Error) -> bool {
    let changed = NackCode::MediaChanged as u16;
    let past_the_end = NackCode::PastTheEnd as u16;
    match error {
        Error::Session(End::Refused { code, .. }) => [changed, past_the_end].contains(code),
        Error::Session(End::Discontinuity(_)) => true,
        _ => false,
    }
}

/// The response of a selection, whose bytes are in `body` where there are any to come.
fn response(
    selection: &Selection,
    known: &Description,
    resource: &Resource,
    body: Option<MediaStream>,
) -> Response<Body> {
    let body = match body {
        Some(mut media) => stream(move |context| media.poll_next(context)),
        None => full(""),
    };
    let mut response = Response::new(body);
    *response.status_mut() = match selection {
        Selection::Whole => StatusCode::OK,
        Selection::Part(_) => StatusCode::PARTIAL_CONTENT,
        Selection::NotModified => StatusCode::NOT_MODIFIED,
        Selection::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Selection::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
    };
    let headers = response.headers_mut();
    let mut put = |name, value: String| {
        // All of them are made of digits and letters of ours.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    if let Some(etag) = &resource.etag {
        put(ETAG, etag.clone());
    }
    if let Some(modified) = resource.modified.filter(|time| is_http_date(*time)) {
        put(LAST_MODIFIED, httpdate::fmt_http_date(modified));
    }
    let size = resource.size.map_or("*".to_owned(), |size| size.to_string());
    match (selection, resource.size) {
        (Selection::Whole, Some(size)) => put(CONTENT_LENGTH, size.to_string()),
        (Selection::Part(range), _) => {
            put(CONTENT_LENGTH, (range.end - range.start).to_string());
            put(CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
        }
        (Selection::Unsatisfiable, _) => put(CONTENT_RANGE, format!("bytes */{size}")),
        _ => {}
    }
    if matches!(selection, Selection::Whole | Selection::Part(_)) {
        headers.insert(CONTENT_TYPE, content_type(&known.media_type));
        if resource.size.is_some() {
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        // Whatever a browser takes it for, it runs nothing of it.
        let policy = HeaderValue::from_static("default-src 'none'; media-src 'self'; sandbox");
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    // A browser may keep it, but asks whether it is still the same; what is live never is.
    let keep = if resource.size.is_some() { "private, no-cache" } else { "no-store" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}

/// Whether HTTP has words for a time: `httpdate` panics beyond the year 9999.
fn is_http_date(time: SystemTime) -> bool {
    const END: Duration = Duration::from_secs(253_402_300_800);
    time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since < END)
}
