//! Until when a server's certificate is good.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};
use time::OffsetDateTime;

use super::{roots, tls};

/// What is wrong, or soon will be, with a certificate's dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValidityProblem {
    /// It is not valid before this time.
    NotYetValid(SystemTime),
    /// It has not been valid since this time.
    Expired(SystemTime),
    /// It ends at this time, which is near.
    Ends(SystemTime),
}

impl fmt::Display for ValidityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, time) = match self {
            Self::NotYetValid(time) => ("is not valid before", time),
            Self::Expired(time) => ("expired at", time),
            Self::Ends(time) => ("expires at", time),
        };
        let time = OffsetDateTime::from(*time);
        let (date, hour, minute) = (time.date(), time.hour(), time.minute());
        write!(f, "{what} {date} {hour:02}:{minute:02} UTC")
    }
}

/// The doubt about a certificate now, or within `margin`. It is what the verifier of clients says
/// of the dates, which it looks at first; that nobody vouches for the certificate is for them.
pub(super) fn doubt(
    certificate: &CertificateDer<'_>,
    now: SystemTime,
    margin: Duration,
) -> Option<ValidityProblem> {
    let mut store = RootCertStore::empty();
    store.add(certificate.clone().into_owned()).ok()?;
    let verifier = roots::verifier(store, &tls::provider())?;
    let name = ServerName::try_from("localhost").ok()?;
    let judge = |at: SystemTime| {
        let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).ok()?);
        match verifier.verify_server_cert(certificate, &[], &name, &[], at) {
            Err(Error::InvalidCertificate(error)) => Some(error),
            _ => None,
        }
    };
    let time = |time: UnixTime| SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs());
    use CertificateError::{ExpiredContext, NotValidYetContext};
    match judge(now) {
        Some(NotValidYetContext { not_before, .. }) => {
            Some(ValidityProblem::NotYetValid(time(not_before)))
        }
        Some(ExpiredContext { not_after, .. }) => Some(ValidityProblem::Expired(time(not_after))),
        _ => match judge(now + margin) {
            Some(ExpiredContext { not_after, .. }) => Some(ValidityProblem::Ends(time(not_after))),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;
    use crate::transport::Certificate;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_certificate_is_doubted_before_after_and_near_the_end_of_its_time() {
        let certificate = Certificate::self_signed(&["media.example".into()], 30).unwrap();
        let certificate = Identity::from(certificate).chain.remove(0);
        let now = SystemTime::now();
        let doubt = |at| doubt(&certificate, at, 14 * DAY);
        assert!(matches!(doubt(now - DAY), Some(ValidityProblem::NotYetValid(from)) if from < now));
        assert_eq!(doubt(now), None);
        assert_eq!(doubt(now + 15 * DAY), None);
        let Some(ValidityProblem::Ends(end)) = doubt(now + 17 * DAY) else {
            panic!("it ends in 13 days")
        };
        assert!(end > now + 29 * DAY && end <= now + 30 * DAY + DAY);
        assert_eq!(doubt(now + 31 * DAY), Some(ValidityProblem::Expired(end)));
    }

    #[test]
    fn a_time_is_shown_to_the_minute() {
        let time = SystemTime::UNIX_EPOCH + 20_000 * DAY + Duration::from_secs(3 * 3600 + 300);
        assert_eq!(ValidityProblem::Expired(time).to_string(), "expired at 2024-10-04 03:05 UTC");
        assert_eq!(ValidityProblem::Ends(time).to_string(), "expires at 2024-10-04 03:05 UTC");
        let not_yet = ValidityProblem::NotYetValid(time).to_string();
        assert_eq!(not_yet, "is not valid before 2024-10-04 03:05 UTC");
    }
}
