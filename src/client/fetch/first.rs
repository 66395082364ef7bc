//! The first session of a play, with a server of which nothing is known yet.

use std::time::Duration;

use tokio::time::timeout;

use super::Fetch;
use crate::client::event::PlayEvent;
use crate::client::link::{self, Again, Connected, Granted, Opened, nearest, open};
use crate::client::{Error, Start, Unverified};
use crate::protocol::{NackCode, Version};
use crate::session::client::End;

/// How long it may take to find out what a server has instead of a title that it has not.
const SUGGESTION_PATIENCE: Duration = Duration::from_secs(1);

impl<R: FnMut(PlayEvent)> Fetch<'_, R> {
    /// Gets a session from a server of which nothing is known yet.
    pub(super) async fn open_first(
        &mut self,
        answer_within: Duration,
    ) -> Result<Option<Opened>, Error> {
        let link = self.link;
        let mut again = Again::default();
        loop {
            let Some(connected) = self.unless_over(link.connect(answer_within)).await else {
                return Ok(None);
            };
            let connected = connected?;
            let granted = match self.open_on(&connected, answer_within).await {
                Ok(Some(granted)) => return Ok(Some(Opened { connected, granted })),
                none => none,
            };
            if !again.is_worth(link.let_go(connected, &granted).await) {
                return granted.map(|_| None);
            }
        }
    }

    /// Asks for a first session on a connection.
    async fn open_on(
        &mut self,
        connected: &Connected,
        answer_within: Duration,
    ) -> Result<Option<Granted>, Error> {
        self.reporter.connected(connected.handle(), connected.fingerprint);
        if connected.handle().version() == Version::V1 {
            self.do_without_version_2()?;
        } else if let (Start::Fraction(part), None) = (self.settings.start, self.resume.size)
            && !self.find_start(connected, part).await?
        {
            return Ok(None);
        }
        self.reporter.requested(self.settings.open.clone());
        let request = self.resume.request(self.settings);
        let opened = open(connected.connection(), request, answer_within);
        let opened = match self.unless_over(opened).await {
            None => return Ok(None),
            Some(opened) => opened,
        };
        let is_unknown = matches!(
            &opened,
            Err(Error::Session(End::Refused { code, .. })) if *code == NackCode::NoSuchTitle as u16
        );
        if !is_unknown {
            let granted = opened?;
            let joined = granted.options.live && granted.options.start_offset.unwrap_or(0) > 0;
            return match joined && self.settings.require_digest && !self.sink.is_discard() {
                // Nobody is to wait for the end to hear that.
                true => Err(Error::Unverified(Unverified::Joined)),
                false => Ok(Some(granted)),
            };
        }
        if self.resume.has_title() {
            return Err(self.no_such_title(connected).await);
        }
        let token = self.settings.token.as_ref();
        let titles = link::titles(connected.connection(), token, self.link.answer_within());
        match self.unless_over(titles).await {
            None => Ok(None),
            Some(titles) => Err(titles.map_or_else(|error| error, Error::TitleNeeded)),
        }
    }

    /// Says which titles come near to the one that the server does not have.
    async fn no_such_title(&self, connected: &Connected) -> Error {
        let titles =
            link::titles(connected.connection(), self.settings.token.as_ref(), SUGGESTION_PATIENCE);
        // A slow or a long answer is no reason to keep the user waiting.
        let titles = timeout(SUGGESTION_PATIENCE, titles).await.ok().and_then(Result::ok);
        let title = self.settings.title.clone().unwrap_or_default();
        let nearest = nearest(&title, &titles.unwrap_or_default());
        Error::NoSuchTitle { title, nearest }
    }

    /// Drops what version 1 cannot do, or says that it cannot.
    fn do_without_version_2(&mut self) -> Result<(), Error> {
        if self.settings.title.is_some() {
            return Err(Error::NeedsVersion2("titles"));
        }
        if !matches!(self.settings.start, Start::Usual | Start::Byte(0)) {
            return Err(Error::NeedsVersion2("start offset"));
        }
        if self.settings.require_digest {
            return Err(Error::Unverified(Unverified::Version1));
        }
        // What came of this play is with its player, or in its file.
        if self.resume.is_resumable() && self.resume.position > 0 {
            return Err(Error::CannotContinue);
        }
        self.start_over(0).map_err(|_| Error::CannotContinue)
    }

    /// Finds out at which byte a part of the whole begins; false if the play is over before.
    async fn find_start(&mut self, connected: &Connected, part: f64) -> Result<bool, Error> {
        let open = self.settings.open.clone();
        let options = self.resume.options();
        let size = link::size(connected.connection(), open, options, self.link.answer_within());
        let Some(size) = self.unless_over(size).await else { return Ok(false) };
        let size = size?;
        let start = (size as f64 * part) as u64;
        // What an earlier play left may begin elsewhere.
        if self.resume.start != start {
            self.start_over(start)?;
        }
        Ok(true)
    }
}
