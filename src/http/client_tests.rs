//! What is believed of what a client says.

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    map
}

#[test]
fn lines_of_accept_are_one_list() {
    assert_eq!(bucket(&headers(&[])), Bucket::Base);
    assert_eq!(bucket(&headers(&[("accept", "image/avif,image/webp,*/*;q=0.8")])), Bucket::Avif);
    let lines = [("accept", "image/png"), ("accept", "*/*;q=0.1"), ("accept", "image/webp")];
    assert_eq!(bucket(&headers(&lines)), Bucket::WebP);
}

#[test]
fn only_what_is_looked_at_reaches_the_client() {
    let all = headers(&[
        ("accept", "image/avif"),
        ("sec-ch-width", "401"),
        ("width", "7"),
        ("dpr", "2.5"),
        ("save-data", "on"),
    ]);
    let address = IpAddr::from([192, 0, 2, 1]);
    let nothing = client(&all, Looked::default(), address);
    assert_eq!((nothing.bucket, nothing.width, nothing.dpr, nothing.save_data), (Bucket::Base, None, None, false));
    let everything = client(&all, Looked { accept: true, size: true, save_data: true, origin: true }, address);
    assert_eq!(
        (everything.bucket, everything.width, everything.dpr, everything.save_data),
        (Bucket::Avif, Some(401), Some(250), true)
    );
    let nonsense = headers(&[("width", "-3"), ("dpr", "NaN"), ("save-data", "off")]);
    let nonsense = client(&nonsense, Looked { accept: true, size: true, save_data: true, origin: true }, address);
    assert_eq!((nonsense.width, nonsense.dpr, nonsense.save_data), (None, None, false));
}

#[test]
fn addresses_are_taken_from_trusted_proxies_only() {
    let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().unwrap()).collect();
    let check = |peer: &str, header: AddressHeader, lines: &[(&'static str, &str)], wanted: &str| {
        let map = headers(lines);
        let said = address(|name| super::lines(&map, name), peer.parse().unwrap(), &trusted, header);
        assert_eq!(said, wanted.parse::<IpAddr>().unwrap(), "{lines:?}");
    };
    use AddressHeader::{Forwarded, XForwardedFor};
    check("192.0.2.9", XForwardedFor, &[("x-forwarded-for", "1.1.1.1")], "192.0.2.9");
    check("10.0.0.1", XForwardedFor, &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1");
    check("::ffff:10.0.0.1", XForwardedFor, &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1");
    check("10.0.0.1", XForwardedFor, &[("x-forwarded-for", "9.9.9.9, 1.1.1.1, 10.2.2.2")], "1.1.1.1");
    check("10.0.0.1", XForwardedFor, &[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "1.1.1.1")], "1.1.1.1");
    check("10.0.0.1", XForwardedFor, &[("x-forwarded-for", "9.9.9.9, nonsense, 10.2.2.2")], "10.2.2.2");
    check("10.0.0.1", XForwardedFor, &[("x-forwarded-for", "10.3.3.3, 10.2.2.2")], "10.3.3.3");
    check("10.0.0.1", XForwardedFor, &[], "10.0.0.1");
    check("10.0.0.1", XForwardedFor, &[("x-forwarded-for", "1.1.1.1:4711")], "1.1.1.1");
    check("10.0.0.1", Forwarded, &[("forwarded", "for=1.1.1.1;proto=https, For=\"10.2.2.2:80\"")], "1.1.1.1");
    check("fd00::1", Forwarded, &[("forwarded", "for=\"[2001:db8::1]:4711\"")], "2001:db8::1");
    check("10.0.0.1", Forwarded, &[("forwarded", "for=_hidden")], "10.0.0.1");
    check("10.0.0.1", Forwarded, &[("x-forwarded-for", "1.1.1.1")], "10.0.0.1");
}

#[test]
fn the_source_is_told_where_the_request_has_been() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let asked = headers(&[("cdn-loop", "a"), ("cdn-loop", "b; v=1"), ("tracestate", "x=1"), ("traceparent", parent)]);
    let caller = trace(&asked).unwrap();
    let told = context(&asked, Some(caller.child()), true);
    assert_eq!((told.cdn_loop.as_deref(), told.tracestate.as_deref()), (Some("a, b; v=1"), Some("x=1")));
    let passed = told.traceparent.unwrap();
    assert!(passed.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && passed != parent, "{passed}");
    assert_eq!(context(&asked, None, false).tracestate, None);
    let twice = headers(&[("traceparent", parent), ("traceparent", parent)]);
    assert_eq!(trace(&twice), None, "of two parents neither can be believed");
}

#[test]
fn request_ids_are_kept_where_sane() {
    assert_eq!(request_id(&headers(&[("x-request-id", "abc-1.2:Z_")])), "abc-1.2:Z_");
    for insane in ["", "a b", "<x>", "a\"b", &"x".repeat(65)] {
        let made = request_id(&headers(&[("x-request-id", insane)]));
        assert!(made.len() == 16 && made != insane, "{insane}");
    }
    assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
}
