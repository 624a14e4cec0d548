//! What is granted, as tables of text.

use url::Url;

use super::{Server, find};
use crate::config::HttpGrant;

fn grant(json: &str) -> HttpGrant {
    serde_json::from_str(json).expect("a grant")
}

/// Rows: what is asked, and `ok` or part of the reason.
#[track_caller]
fn check(grants: &[&str], table: &str) {
    let servers: Vec<Server> = grants
        .iter()
        .map(|json| Server::new(&grant(json)).expect("valid"))
        .collect();
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let (asked, expected) = row.split_once(" -> ").expect("a row");
        let (method, url) = asked.split_once(' ').expect("a method and a URL");
        let url = Url::parse(url).expect("a URL");
        match find(&servers, method, &url) {
            Ok(_) => assert_eq!(expected, "ok", "{row}"),
            Err(why) => assert!(why.contains(expected), "{row}: {why}"),
        }
    }
}

#[test]
fn a_part_of_a_server() {
    check(
        &[r#"{"host": "API.example.com", "path": "/v1/", "methods": ["GET", "POST"]}"#],
        r"
        GET https://api.example.com/v1/x -> ok
        GET https://api.example.com/v1/ -> ok
        POST https://api.example.com/v1/x?a=/../b -> ok
        GET HTTPS://API.EXAMPLE.COM:443/v1/a%2Fb -> ok
        GET https://api.example.com./v1/x -> ok
        GET https://api.example.com/v1/...x/y..z -> ok
        GET https://api.example.com/v1 -> not this path
        GET https://api.example.com/v10/x -> not this path
        GET https://api.example.com/V1/x -> not this path
        GET https://api.example.com/ -> not this path
        GET https://api.example.com//v1/x -> not this path
        GET https://api.example.com/v1/../admin -> not this path
        GET https://api.example.com/v1/%2e%2e/admin -> not this path
        GET https://api.example.com/v1/%2e%2E%2fadmin -> not this path
        GET https://api.example.com/v1/..%2fadmin -> not this path
        GET https://api.example.com/v1/..%5cadmin -> not this path
        GET https://api.example.com/v1/..\admin -> not this path
        GET https://api.example.com/v1/%252e%252e%252fadmin -> not this path
        GET https://api.example.com/v1/..;a=b/admin -> not this path
        GET https://api.example.com/v1/x/..%2f..%2fadmin -> not this path
        GET https://api.example.com/v1/%25252525252e -> not this path
        DELETE https://api.example.com/v1/x -> not with the method DELETE
        get https://api.example.com/v1/x -> not with the method get
        GET http://api.example.com/v1/x -> grants no http://api.example.com:80
        GET https://api.example.com:8443/v1/x -> grants no https://api.example.com:8443
        GET https://api.example.com.evil.example/v1/x -> grants no
        GET https://evil.example/api.example.com/v1/x -> grants no
        GET https://api.example.com@evil.example/v1/x -> grants no https://evil.example:443
        GET ftp://api.example.com/v1/x -> no http or https URL
        ",
    );
}

#[test]
fn a_path_without_a_slash_is_a_segment() {
    check(
        &[r#"{"host": "a.example", "path": "/v1", "plain": true, "port": 8080}"#],
        "
        GET http://a.example:8080/v1 -> ok
        HEAD http://a.example:8080/v1/x -> ok
        GET http://a.example:8080/v1?x -> ok
        GET http://a.example:8080/v1x -> not this path
        GET http://a.example/v1 -> grants no
        ",
    );
}

#[test]
fn addresses_have_many_spellings() {
    check(
        &[
            r#"{"host": "127.0.0.1"}"#,
            r#"{"host": "::1"}"#,
            r#"{"host": "[2001:DB8::7]", "port": 8443}"#,
        ],
        "
        GET https://127.0.0.1/ -> ok
        GET https://2130706433/ -> ok
        GET https://0x7f.1/ -> ok
        GET https://[::1]/ -> ok
        GET https://[0:0:0:0:0:0:0:1]:443/ -> ok
        GET https://[2001:db8:0::7]:8443/ -> ok
        GET https://[2001:db8::7]/ -> grants no
        GET https://127.0.0.2/ -> grants no
        GET https://[::ffff:127.0.0.1]/ -> grants no
        GET https://localhost/ -> grants no
        ",
    );
}

#[test]
fn several_grants_of_one_server_add_up() {
    check(
        &[
            r#"{"host": "a.example", "path": "/read/"}"#,
            r#"{"host": "a.example", "path": "/write/", "methods": ["PUT"]}"#,
        ],
        "
        GET https://a.example/read/x -> ok
        PUT https://a.example/write/x -> ok
        PUT https://a.example/read/x -> not with the method PUT
        GET https://a.example/write/x -> not with the method GET
        ",
    );
}

#[test]
fn a_whole_server_has_every_path() {
    check(
        &[r#"{"host": "a.example"}"#],
        "
        GET https://a.example -> ok
        GET https://a.example/a/%2e%2e/b -> ok
        ",
    );
}

#[test]
fn grants_that_cannot_be() {
    for (json, expected) in [
        (r#"{"host": ""}"#, "no name or address"),
        (r#"{"host": "*.example.com"}"#, "patterns are not granted"),
        (r#"{"host": "a.example:80"}"#, "a name or an address only"),
        (r#"{"host": "a.example:443"}"#, "a name or an address only"),
        (r#"{"host": "a.example:"}"#, "a name or an address only"),
        (r#"{"host": "a.example/x"}"#, "a name or an address only"),
        (r#"{"host": "https://a.example"}"#, "`https://a.example`"),
        (r#"{"host": "user@a.example"}"#, "a name or an address only"),
        (r#"{"host": "a b"}"#, "no name or address"),
        (r#"{"host": "a.example", "port": 0}"#, "port = 0"),
        (r#"{"host": "a.example", "methods": []}"#, "no methods"),
        (r#"{"host": "a.example", "methods": ["get"]}"#, "`get`"),
        (
            r#"{"host": "a.example", "methods": ["CONNECT"]}"#,
            "`CONNECT`",
        ),
        (r#"{"host": "a.example", "path": "v1"}"#, "begin with `/`"),
        (
            r#"{"host": "a.example", "path": "/v1/../x"}"#,
            "straight down",
        ),
        (r#"{"host": "a.example", "path": "/v1?x"}"#, "straight down"),
    ] {
        let error = Server::new(&grant(json)).expect_err(json);
        assert!(error.contains(expected), "{json}: {error}");
    }
}
