use std::fmt::Debug;
use std::str::FromStr;

use clap::CommandFactory;

use super::value::*;

#[test]
fn clap_finds_no_fault_with_the_flags() {
    crate::cli::Cli::command().debug_assert();
}

/// The same value as a flag or variable has it, and as a file has it.
fn both<T>(text: &str, toml: &str) -> (Result<T, Invalid>, Result<T, Invalid>)
where
    T: FromStr<Err = Invalid> + TryFrom<toml::Value, Error = Invalid>,
{
    (text.parse(), T::try_from(toml.parse().unwrap()))
}

fn taken<T>(text: &str, toml: &str)
where
    T: FromStr<Err = Invalid> + TryFrom<toml::Value, Error = Invalid> + Debug + PartialEq,
{
    let (from_text, from_toml) = both::<T>(text, toml);
    assert!(from_text.is_ok(), "{text}: {from_text:?}");
    assert_eq!(from_text, from_toml);
}

fn refused<T>(text: &str, toml: &str)
where
    T: FromStr<Err = Invalid> + TryFrom<toml::Value, Error = Invalid> + Debug,
{
    let (from_text, from_toml) = both::<T>(text, toml);
    assert!(from_text.is_err(), "{text}: {from_text:?}");
    assert!(from_toml.is_err(), "{toml}: {from_toml:?}");
}

#[test]
fn whole_numbers_stay_in_their_range() {
    taken::<Mtu>("1228", "1228");
    taken::<Mtu>("9001", "9001");
    for number in ["1227", "9002", "-1", "0", "70000", "1.5"] {
        refused::<Mtu>(number, number);
    }
    refused::<Mtu>("abc", "\"1500\"");
    refused::<Mtu>("", "true");
    taken::<Bitrate>("4294967295", "4294967295");
    refused::<Bitrate>("4294967296", "4294967296");
    assert_eq!(
        "0".parse::<Keepalive>().unwrap_err().to_string(),
        "0 is not a whole number from 1 to 3600"
    );
}

#[test]
fn sizes_take_units() {
    let size = |text: &str| text.parse::<SocketBuffer>().unwrap().get();
    assert_eq!(size("65536"), 65_536);
    assert_eq!(size("64KiB"), 65_536);
    assert_eq!(size("4 MiB"), 4 << 20);
    assert_eq!(size("1MB"), 1_000_000);
    assert_eq!(size("1.5MiB"), 1_572_864);
    taken::<SocketBuffer>("65536", "65536");
    taken::<SocketBuffer>("64MiB", "\"64MiB\"");
    for text in ["65535", "65MiB", "-1", "64 bananas", "", "99999999999999999999EiB"] {
        refused::<SocketBuffer>(text, &format!("\"{text}\""));
    }
    refused::<SocketBuffer>("x", "65536.0");
    let refusal = "0".parse::<ChunkSize>().unwrap_err().to_string();
    assert_eq!(refusal, "0 is not a size from 1 B to 1.0 MiB, such as 65536, 512KiB or 1MB");
}

#[test]
fn seconds_take_fractions() {
    taken::<PauseFor>("0", "0");
    taken::<PauseFor>("0.25", "0.25");
    taken::<PauseFor>("86400", "86400.0");
    for number in ["-0.1", "86400.1", "inf", "nan"] {
        refused::<PauseFor>(number, number);
    }
    refused::<ConnectTimeout>("0", "0");
    refused::<PauseFor>("2 s", "\"2\"");
}

#[test]
fn lists_and_names_fit_the_wire() {
    taken::<List<Bitrate>>("240000,500000", "[240000, 500000]");
    taken::<List<Bitrate>>(" 1 , 2", "[1, 2]");
    refused::<List<Bitrate>>("", "[]");
    refused::<List<Bitrate>>("1,,2", "[1, 0]");
    refused::<List<Bitrate>>("1;2", "1");
    let many = |count| vec!["7"; count].join(",");
    taken::<List<Bitrate>>(&many(255), &format!("[{}]", many(255)));
    refused::<List<Bitrate>>(&many(256), &format!("[{}]", many(256)));
    let name = |len: usize| ("é".repeat(len / 2), format!("\"{}\"", "é".repeat(len / 2)));
    taken::<Name>(&name(254).0, &name(254).1);
    refused::<Name>(&name(256).0, &name(256).1);
}

#[test]
fn a_server_is_written_in_every_usual_way() {
    let parts = |text: &str| {
        let Address { host, port } = text.parse().unwrap();
        (String::from(host), port.map(|port| port.get()))
    };
    assert_eq!(parts("media.example"), ("media.example".into(), None));
    assert_eq!(parts("media.example:9443"), ("media.example".into(), Some(9443)));
    assert_eq!(parts("192.0.2.7:1"), ("192.0.2.7".into(), Some(1)));
    assert_eq!(parts("2001:db8::7"), ("2001:db8::7".into(), None));
    assert_eq!(parts("::1"), ("::1".into(), None));
    assert_eq!(parts("[::1]"), ("::1".into(), None));
    assert_eq!(parts("[::1]:65535"), ("::1".into(), Some(65_535)));
    for text in ["", ":9000", "host:", "host:0", "host:65536", "host:x", "a b", "[host]:1", "[::1"]
    {
        assert!(text.parse::<Address>().is_err(), "{text:?}");
    }
}
