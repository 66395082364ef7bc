use std::fmt::Debug;
use std::str::FromStr;

use clap::CommandFactory;

use super::value::*;
use crate::client;
use crate::protocol::MAX_CHUNK_SIZE;
use crate::transport::Fingerprint;

type Bitrate = BitRate<u32, 1, { u32::MAX as u64 }>;
type MaxRate = BitRate<u64, 0, { u64::MAX }>;
type ChunkSize = Size<u32, 1, { MAX_CHUNK_SIZE as u64 }>;
type SocketBuffer = Size<u32, { 64 << 10 }, { 64 << 20 }>;
type Mtu = Whole<u16, 1228, 9001>;
type Keepalive = Whole<u64, 1, 3600>;
type PauseFor = Seconds<0, 86_400_000>;
type ConnectTimeout = Seconds<1, 3_600_000>;

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
    assert_eq!(
        "0".parse::<Keepalive>().unwrap_err().to_string(),
        "0 is not a whole number from 1 to 3600"
    );
}

#[test]
fn bitrates_take_decimal_units() {
    let rate = |text: &str| text.parse::<Bitrate>().unwrap().get();
    for (text, bits) in [
        ("500000", 500_000),
        ("500k", 500_000),
        ("500K", 500_000),
        ("4M", 4_000_000),
        ("4 M", 4_000_000),
        ("4m", 4_000_000),
        ("2.5M", 2_500_000),
        ("1.000001M", 1_000_001),
        ("4.294967295G", 4_294_967_295),
        ("1", 1),
    ] {
        assert_eq!(rate(text), bits, "{text}");
    }
    taken::<Bitrate>("4294967295", "4294967295");
    taken::<Bitrate>("4M", "'4M'");
    taken::<Bitrate>("4000000", "'4000000'");
    taken::<MaxRate>("0", "0");
    taken::<MaxRate>("20G", "'20G'");
    for text in
        ["4294967296", "4.3G", "0", "0k", "-1", "+1", "1.5", "M", ".5M", "1.0000001M", "4MiB"]
    {
        refused::<Bitrate>(text, &format!("'{text}'"));
    }
    refused::<Bitrate>("1.5", "1.5");
    refused::<Bitrate>("true", "true");
}

#[test]
fn sizes_take_units() {
    let size = |text: &str| text.parse::<SocketBuffer>().unwrap().get();
    assert_eq!(size("65536"), 65_536);
    assert_eq!(size("64KiB"), 65_536);
    assert_eq!(size("4 MiB"), 4 << 20);
    assert_eq!(size("1MB"), 1_000_000);
    assert_eq!(size("4M"), 4_000_000);
    assert_eq!(size("1.5MiB"), 1_572_864);
    taken::<SocketBuffer>("65536", "65536");
    taken::<SocketBuffer>("64MiB", "\"64MiB\"");
    for text in ["65535", "65MiB", "-1", "64 bananas", "", "99999999999999999999EiB"] {
        refused::<SocketBuffer>(text, &format!("\"{text}\""));
    }
    refused::<SocketBuffer>("x", "65536.0");
    let refusal = "0".parse::<ChunkSize>().unwrap_err().to_string();
    assert_eq!(
        refusal,
        "0 is not a size from 1 B to 1.0 MiB: bytes, or with a unit such as KiB or MB"
    );
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
    taken::<Name>("", "\"\"");
    refused::<Title>("", "\"\"");
    taken::<Title>(&"x".repeat(255), &format!("\"{}\"", "x".repeat(255)));
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
    assert_eq!(parts("fe80::1%eth0"), ("fe80::1%eth0".into(), None));
    assert_eq!(parts("[fe80::1%eth0]"), ("fe80::1%eth0".into(), None));
    assert_eq!(parts("[fe80::1%2]:9000"), ("fe80::1%2".into(), Some(9000)));
    for text in ["", ":9000", "host:", "host:0", "host:65536", "host:x", "a b", "[host]:1", "[::1"]
    {
        assert!(text.parse::<Address>().is_err(), "{text:?}");
    }
}

#[test]
fn what_is_wrong_with_the_interface_of_an_address_is_said() {
    for (text, why) in [
        ("fe80::1", "name the interface that leads to it, such as fe80::1%eth0"),
        ("[fe80::1]:9000", "name the interface that leads to it, such as fe80::1%eth0"),
        ("fe80::1%", "a port goes behind brackets"),
        ("fe80::1%eth0:9000", "a port goes behind brackets, as in [fe80::1%eth0]:9000"),
        ("2001:db8::7%eth0", "which only a link-local address"),
        ("192.0.2.7%eth0", "is not a DNS name or an IP address"),
        ("host%eth0", "is not a DNS name or an IP address"),
    ] {
        let refusal = text.parse::<Address>().map(|_| ()).unwrap_err().to_string();
        assert!(refusal.contains(why), "{text}: {refusal}");
    }
    let refusal = "fe80::1%eth0".parse::<CertificateName>().unwrap_err().to_string();
    assert_eq!(refusal, "\"fe80::1%eth0\" is not a DNS name or an IP address");
    "fe80::1".parse::<CertificateName>().unwrap();
}

#[test]
fn a_place_to_listen_is_written_in_every_usual_way() {
    let listen = |text: &str| {
        let address = text.parse::<Listen>().map(std::net::SocketAddr::from);
        address.map(|address| address.to_string()).map_err(|error| error.to_string())
    };
    for (text, address) in [
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("[::]:0", "[::]:0"),
        (":9000", "0.0.0.0:9000"),
        ("9000", "0.0.0.0:9000"),
        ("localhost:9000", "127.0.0.1:9000"),
        ("[fe80::1%7]:9000", "[fe80::1%7]:9000"),
    ] {
        assert_eq!(listen(text), Ok(address.into()), "{text}");
    }
    taken::<Listen>("9000", "9000");
    taken::<Listen>("localhost:9000", "'localhost:9000'");
    for text in [
        "",
        ":",
        "65536",
        "-1",
        "127.0.0.1",
        "::1",
        "localhost",
        "media.example:9000",
        "::1:x",
        "[fe80::1%no such]:1",
        "[fe80::1%nosuchinterface]:1",
        "[::1%7]x:1",
    ] {
        let refusal = listen(text).unwrap_err();
        assert!(refusal.contains("is not an IP address and a port, such as"), "{refusal}");
    }
}

#[test]
fn a_start_is_a_byte_or_a_part() {
    use client::Start::{Byte, Fraction};
    let start = |text: &str| text.parse::<Start>().map(client::Start::from).ok();
    for (text, place) in [
        ("0", Byte(0)),
        ("1048576", Byte(1 << 20)),
        ("10MiB", Byte(10 << 20)),
        ("1.5 MB", Byte(1_500_000)),
        ("18446744073709551615", Byte(u64::MAX)),
        ("0%", Fraction(0.0)),
        ("12.5%", Fraction(0.125)),
        ("100%", Fraction(1.0)),
    ] {
        assert_eq!(start(text), Some(place), "{text}");
    }
    for text in ["", "%", "-1", "100.1%", "-1%", "nan%", "25 percent", "10MiB%", "0x10"] {
        assert_eq!(start(text), None, "{text:?}");
    }
}

#[test]
fn a_rate_is_a_word_or_bits_per_second() {
    use client::Rate::{Auto, Bitrate, BitsPerSecond, Max};
    for (text, toml, rate) in [
        ("auto", "'auto'", Auto),
        ("bitrate", "'bitrate'", Bitrate),
        ("max", "'max'", Max),
        ("1", "1", BitsPerSecond(1)),
        ("500k", "'500k'", BitsPerSecond(500_000)),
        ("2M", "'2M'", BitsPerSecond(2_000_000)),
        ("1.5 M", "'1.5M'", BitsPerSecond(1_500_000)),
        ("10G", "10000000000", BitsPerSecond(10_000_000_000)),
        ("18446744073709551615", "'18446744073709551615'", BitsPerSecond(u64::MAX)),
    ] {
        let (from_text, from_toml) = both::<Rate>(text, toml);
        assert_eq!(from_text.map(client::Rate::from), Ok(rate), "{text}");
        assert_eq!(from_toml.map(client::Rate::from), Ok(rate), "{toml}");
    }
    for text in ["", "0", "0k", "M", "2MiB", "1.5", "-1", "Auto", "18446744073709551615k"] {
        refused::<Rate>(text, &format!("'{text}'"));
    }
    refused::<Rate>("1.5", "1.5");
    refused::<Rate>("true", "true");
}

const PIN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn a_url_names_server_title_and_pin() {
    let parts = |text: &str| {
        let Locator { servers, title, pins } =
            text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let Address { host, port } = servers.into_vec().remove(0);
        let pin = pins.is_some_and(|pins| Ok(pins) == PIN.parse());
        (String::from(host), port.map(|port| port.get()), title.map(String::from), pin)
    };
    let with_pin = |url: &str| format!("{url}?pin={PIN}");
    let colons = ["aA"; 32].join(":");
    for (text, host, port, title, pin) in [
        ("media.example:1", "media.example", Some(1), None, false),
        ("quicstream://media.example", "media.example", None, None, false),
        ("quicstream://media.example/", "media.example", None, None, false),
        (
            "QuicStream://media.example:9443/film.mp4",
            "media.example",
            Some(9443),
            Some("film.mp4"),
            false,
        ),
        ("quicstream://192.0.2.7/a/b%20c.mp4", "192.0.2.7", None, Some("a/b c.mp4"), false),
        ("quicstream://[2001:db8::7]:1/a", "2001:db8::7", Some(1), Some("a"), false),
        ("quicstream://[::1]/a%2Fb", "::1", None, Some("a/b"), false),
        ("quicstream://host/a+b", "host", None, Some("a+b"), false),
        ("quicstream://host/My Film.mp4", "host", None, Some("My Film.mp4"), false),
        ("quicstream://host/100%", "host", None, Some("100%"), false),
        ("quicstream://host/a?", "host", None, Some("a"), false),
        ("media.example/film.mp4", "media.example", None, Some("film.mp4"), false),
        ("media.example:1/a/b%20c.mp4", "media.example", Some(1), Some("a/b c.mp4"), false),
        ("[2001:db8::7]:1/a", "2001:db8::7", Some(1), Some("a"), false),
        ("host:1/", "host", Some(1), None, false),
        ("host/a://b", "host", None, Some("a://b"), false),
        (&with_pin("host:2/a"), "host", Some(2), Some("a"), true),
        ("[fe80::1%eth0]:1/a", "fe80::1%eth0", Some(1), Some("a"), false),
        ("quicstream://[fe80::1%25eth0]:1/a", "fe80::1%eth0", Some(1), Some("a"), false),
        ("quicstream://[fe80::1%25]/a", "fe80::1%25", None, Some("a"), false),
        ("host/a://[b%20c]", "host", None, Some("a://[b c]"), false),
        (&with_pin("quicstream://host"), "host", None, None, true),
        (&with_pin("quicstream://host:2/f%C3%BCr"), "host", Some(2), Some("für"), true),
        (&format!("quicstream://host/a?pin={colons}"), "host", None, Some("a"), true),
    ] {
        assert_eq!(parts(text), (host.into(), port, title.map(str::to_owned), pin), "{text}");
    }
}

#[test]
fn several_servers_and_pins_are_separated_by_commas() {
    let parts = |text: &str| {
        let Locator { servers, title, pins } = text.parse().unwrap();
        let servers = servers.into_vec().into_iter();
        let server = |Address { host, port }| (String::from(host), port.map(|port| port.get()));
        let pins = pins.map_or(0, |pins: Pins| pins.into_vec().len());
        (servers.map(server).collect::<Vec<_>>(), title.map(String::from), pins)
    };
    let server = |host: &str, port| (host.to_owned(), port);
    let both = vec![server("a.example", None), server("b.example", Some(9001))];
    assert_eq!(parts("a.example,b.example:9001"), (both.clone(), None, 0));
    assert_eq!(
        parts(&format!("quicstream://a.example,b.example:9001/a,b.mp4?pin={PIN},{PIN}")),
        (both, Some("a,b.mp4".to_owned()), 2)
    );
    let v6 = vec![server("::1", Some(1)), server("::2", None), server("c", None)];
    assert_eq!(parts("[::1]:1,[::2],c/x"), (v6, Some("x".to_owned()), 0));
    for text in ["a,", ",a", "a,,b", "quicstream://a,/x", "a,b:0"] {
        assert!(text.parse::<Locator>().is_err(), "{text}");
    }
}

#[test]
fn a_url_that_says_anything_else_is_refused() {
    let long = format!("quicstream://host/{}", "x".repeat(256));
    let twice = format!("quicstream://host/?pin={PIN}&pin={PIN}");
    for (text, why) in [
        ("http://host/film.mp4", "a URL begins with quicstream:// here, not http://"),
        ("://host", "is not a URL"),
        ("/film.mp4", "is not a DNS name or an IP address"),
        ("./film.mp4", "is not a DNS name or an IP address"),
        ("host/why?.mp4", "\".mp4\" means nothing in the URL"),
        ("quicstream://[fe80::1]/a", "name the interface"),
        ("quicstream://[::1%25eth0]/a", "which only a link-local address"),
        ("quicstream://", "is not a DNS name or an IP address"),
        ("quicstream:///film.mp4", "is not a DNS name or an IP address"),
        ("quicstream://:9000/film.mp4", "is not a URL: empty host"),
        ("quicstream://a%20b/", "is not a DNS name or an IP address"),
        ("quicstream://[::1/", "is not a URL: invalid IPv6 address"),
        ("quicstream://host:0/", "0 is not a whole number from 1 to 65535"),
        ("quicstream://host:65536/", "is not a URL: invalid port number"),
        ("quicstream://host:x/", "is not a URL: invalid port number"),
        ("quicstream://ann@host/", "no user name"),
        ("quicstream://:secret@host/", "no user name"),
        ("quicstream://host/a#b", "write %23"),
        ("quicstream://host/a#", "write %23"),
        ("quicstream://host/why?.mp4", "\".mp4\" means nothing in the URL"),
        ("quicstream://host/a?start=1", "\"start\" means nothing in the URL, only \"pin\" does"),
        ("quicstream://host/a?Pin=x", "\"Pin\" means nothing"),
        ("quicstream://host/a?pin", "the URL's pin: a SHA-256 fingerprint is 64"),
        ("quicstream://host/a?pin=abc", "the URL's pin: a SHA-256 fingerprint is 64"),
        (&twice, "more than one pin"),
        ("quicstream://host/%FF", "not UTF-8"),
        (&long, "256 bytes given where 1 to 255 are taken"),
    ] {
        let refusal = text.parse::<Locator>().map(|_| ()).unwrap_err().to_string();
        assert!(refusal.contains(why), "{text}: {refusal}");
    }
}

#[test]
fn a_url_that_is_made_is_read_back() {
    let pin: Fingerprint = PIN.parse().unwrap();
    let longest = "é".repeat(127);
    let titles = [
        None,
        Some("film.mp4"),
        Some("clips/a b.mp4"),
        Some("#1? 100% + \\ & = ; ' \" ` $(x) [y] {z} | ~ : @ *!"),
        Some("%2F%zz"),
        Some("日本/für.mp4"),
        Some(" edges\t\n"),
        Some("...and/.../a..b"),
        Some("a//b/"),
        Some(&*longest),
    ];
    for title in titles {
        for (host, port) in [("media.example", 1), ("192.0.2.7", 9000), ("2001:db8::7", 65_535)] {
            for pin in [None, Some(&pin)] {
                let made = url(host, port, title, pin);
                let read: Locator = made.parse().unwrap_or_else(|error| panic!("{made}: {error}"));
                let address = read.servers.into_vec().remove(0);
                assert_eq!(String::from(address.host), host, "{made}");
                assert_eq!(address.port.map(|port| port.get()), Some(port), "{made}");
                assert_eq!(read.title.map(String::from).as_deref(), title, "{made}");
                let pins = read.pins.map(Pins::into_vec);
                assert_eq!(pins.as_ref().and_then(|pins| pins.first()), pin, "{made}");
                assert!(!made.contains(|char: char| " '\"`$&;|*!\\()<>".contains(char)), "{made}");
            }
        }
    }
    let made = url("::1", 9000, Some("a b/é.mp4"), Some(&pin));
    assert_eq!(made, format!("quicstream://[::1]:9000/a%20b/%C3%A9.mp4?pin={PIN}"));
    assert_eq!(url("host", 1, None, None), "quicstream://host:1/");
}
