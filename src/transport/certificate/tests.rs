use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError as Refusal, RootCertStore};

use super::*;

fn certificate() -> Certificate {
    Certificate::self_signed(&Certificate::LOCAL_NAMES.map(String::from), 30).unwrap()
}

/// What a client says that trusts `root` and is shown `certificate` by `name` at `time`.
fn verify(
    root: &Certificate,
    certificate: &Certificate,
    name: &str,
    time: OffsetDateTime,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let seconds = u64::try_from(time.unix_timestamp()).unwrap();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .unwrap()
        .verify_server_cert(certificate.certificate.der(), &[], &name, &[], time)
        .map(|_| ())
}

fn refusal(result: Result<(), rustls::Error>) -> Refusal {
    match result {
        Err(rustls::Error::InvalidCertificate(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_that_trusts_it_takes_it_for_its_names_and_days_only() {
    let own = certificate();
    let now = OffsetDateTime::now_utc();
    for name in Certificate::LOCAL_NAMES {
        assert_eq!(verify(&own, &own, name, now), Ok(()), "{name}");
    }
    for time in [now - Duration::minutes(4), now + Duration::days(29)] {
        assert_eq!(verify(&own, &own, "localhost", time), Ok(()), "{time}");
    }
    let late = refusal(verify(&own, &own, "localhost", now + Duration::days(31)));
    assert!(matches!(late, Refusal::ExpiredContext { .. }), "{late:?}");
    let early = refusal(verify(&own, &own, "localhost", now - Duration::minutes(6)));
    assert!(matches!(early, Refusal::NotValidYetContext { .. }), "{early:?}");
    for name in ["other.example", "127.0.0.2"] {
        let wrong = refusal(verify(&own, &own, name, now));
        assert!(matches!(wrong, Refusal::NotValidForNameContext { .. }), "{wrong:?}");
    }
    let stranger = refusal(verify(&certificate(), &own, "localhost", now));
    assert!(matches!(stranger, Refusal::BadSignature | Refusal::UnknownIssuer), "{stranger:?}");
}

#[test]
fn serial_numbers_are_positive_of_one_length_and_differ() {
    let [one, two] = [random_serial(), random_serial()];
    assert_ne!(one, two);
    assert!([one, two].iter().all(|serial| serial[0] >> 6 == 1));
}

#[test]
fn names_that_no_certificate_carries_are_told_apart() {
    for name in ["localhost", "media.example", "192.0.2.7", "2001:db8::7"] {
        assert!(is_server_name(name), "{name}");
    }
    for name in ["", "a b", "host:9000", "[::1]", "192.0.2.777", "münchen.example", "-x"] {
        assert!(!is_server_name(name), "{name}");
    }
}

#[test]
fn the_key_is_for_its_owner_only_and_so_are_new_directories() {
    let directory = tempfile::tempdir().unwrap();
    let new = directory.path().join("a/b");
    let (cert, key) = (new.join("cert.pem"), new.join("key.pem"));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for force in [false, true] {
        certificate().write(&cert, &key, force).unwrap();
        assert_eq!(mode(&key), 0o600, "force {force}");
        assert_eq!(mode(&new), 0o700);
        assert_eq!(mode(&directory.path().join("a")), 0o700);
    }
}

#[test]
fn nothing_is_overwritten_and_no_half_is_left_behind() {
    for existing in ["cert.pem", "key.pem"] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        fs::write(path(existing), "precious").unwrap();
        let error = certificate().write(&path("cert.pem"), &path("key.pem"), false).unwrap_err();
        assert!(matches!(&error, CertificateError::Exists(at) if *at == path(existing)));
        assert!(error.to_string().contains("--force"), "{error}");
        assert_eq!(names_in(directory.path()), [existing]);
        assert_eq!(fs::read_to_string(path(existing)).unwrap(), "precious");
    }
}

#[test]
fn a_key_whose_certificate_cannot_be_written_is_removed_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // Longer than a file name may be.
    let error = certificate().write(&path(&"c".repeat(300)), &path("key.pem"), false).unwrap_err();
    assert!(matches!(error, CertificateError::Write { .. }), "{error:?}");
    assert_eq!(names_in(directory.path()), [""; 0]);
}

#[test]
fn symbolic_links_are_refused_and_with_force_replaced_but_never_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    fs::write(path("target"), "precious").unwrap();
    symlink(path("target"), path("cert.pem")).unwrap();
    symlink(path("nowhere"), path("key.pem")).unwrap();
    let (cert, key) = (path("cert.pem"), path("key.pem"));

    let error = certificate().write(&cert, &key, false).unwrap_err();
    assert!(matches!(error, CertificateError::Exists(_)), "{error:?}");
    let error = certificate().write(&path("fresh.pem"), &key, false).unwrap_err();
    assert!(matches!(error, CertificateError::Exists(_)), "a link to nowhere: {error:?}");
    assert_eq!(names_in(directory.path()), ["cert.pem", "key.pem", "target"]);

    certificate().write(&cert, &key, true).unwrap();
    assert_eq!(names_in(directory.path()), ["cert.pem", "key.pem", "target"]);
    assert_eq!(fs::read_to_string(path("target")).unwrap(), "precious");
    assert!(
        cert.symlink_metadata().unwrap().is_file() && key.symlink_metadata().unwrap().is_file()
    );
}

#[test]
fn force_replaces_both_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    fs::create_dir(path("cert.pem")).unwrap();
    fs::write(path("key.pem"), "precious").unwrap();
    let error = certificate().write(&path("cert.pem"), &path("key.pem"), true).unwrap_err();
    assert!(matches!(error, CertificateError::Write { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(path("key.pem")).unwrap(), "precious");
    assert_eq!(names_in(directory.path()), ["cert.pem", "key.pem"]);
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
