//! Values in URLs: what is kept, what is encoded, what is refused.

use serde_json::json;

use super::UrlTemplate;
use crate::bind::{Context, Template};

fn with(value: &str) -> Context {
    let mut context = Context::default();
    context.set("params", json!({"x": value}));
    context
}

fn compile(text: &str) -> Result<UrlTemplate, String> {
    UrlTemplate::compile(&Template::parse(text).unwrap()).map_err(|error| error.message)
}

fn bind(text: &str, value: &str) -> Result<String, String> {
    let bound = compile(text)?.bind(&with(value), &|_| false);
    bound.map(|bound| bound.url).map_err(|error| error.to_string())
}

#[test]
fn a_value_is_encoded_for_the_part_where_it_stands() {
    for (text, value, wanted) in [
        ("https://h/a/${{ params.x }}/b", "x/../y z", "https://h/a/x%2F..%2Fy%20z/b"),
        ("https://h/?q=${{ params.x }}&r=1", "a&b=c#d", "https://h/?q=a%26b%3Dc%23d&r=1"),
        ("https://h/备份?q=${{ params.x }}", "文", "https://h/%E5%A4%87%E4%BB%BD?q=%E6%96%87"),
        ("https://${{ params.x }}.example.com/ready", "prod", "https://prod.example.com/ready"),
        ("http://[${{ params.x }}]:80/", "::1", "http://[::1]:80/"),
        ("http://localhost:${{ params.x }}/", "8080", "http://localhost:8080/"),
        ("http://u:${{ params.x }}@h/", "a@b:c/d", "http://u:a%40b%3Ac%2Fd@h/"),
        ("${{ params.x }}/health", "http://h:1/prefix/", "http://h:1/prefix/health"),
        ("${{ params.x }}/health", "http://h:1", "http://h:1/health"),
        ("${{ params.x }}", "https://h/a?b=c", "https://h/a?b=c"),
        ("HTTPS://h/a%20b", "", "https://h/a%20b"),
    ] {
        assert_eq!(bind(text, value).as_deref(), Ok(wanted), "{text} with {value:?}");
    }
}

#[test]
fn a_value_that_would_name_something_else_is_refused() {
    for (text, value, why) in [
        ("https://h/users/${{ params.x }}", "", "is empty"),
        ("https://h/users/${{ params.x }}/keys", "", "is empty"),
        ("https://h/a/${{ params.x }}?q", "..", "`.` or `..`"),
        ("https://h/a/.${{ params.x }}/", ".", "`.` or `..`"),
        ("https://${{ params.x }}.example.com/", "evil.org/", "'/'"),
        ("https://${{ params.x }}/", "user@evil.org", "'@'"),
        ("https://${{ params.x }}/", "", "is empty"),
        ("https://h:${{ params.x }}/", "80/x", "'/'"),
        ("https://h:${{ params.x }}/", "99999", "no port"),
        ("https://h:${{ params.x }}/", "0", "no port"),
        ("${{ params.x }}/health", "file:///etc/passwd", "no URL"),
        ("${{ params.x }}/health", "http://h/?a=", "`?` or `#`"),
        ("${{ params.x }}/health", "http://", "no host"),
        ("${{ params.x }}/health", "http://h\r\nX: y", "cannot stand"),
    ] {
        let error = bind(text, value).unwrap_err();
        assert!(error.contains(why), "{text} with {value:?}: {error}");
    }
}

#[test]
fn a_url_that_cannot_be_one_is_refused_when_it_is_read() {
    for (text, why) in [
        ("ftp://h/", "begins with"),
        ("h/x", "begins with"),
        ("${{ params.x }}://h/", "whole beginning"),
        ("${{ params.x }}.example.com/", "whole beginning"),
        ("http:///x", "no host"),
        ("http://h:/x", "a port"),
        ("http://a b/", "' '"),
        ("http://例/", "host"),
        ("http://h/a\\b", "cannot stand"),
        ("http://h\\@evil/", "user"),
    ] {
        let error = compile(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn what_is_shown_hides_passwords_and_sensitive_values() {
    let url = compile("https://u:pw@h/?t=${{ params.x }}").unwrap();
    let bound = url.bind(&with("s3cret"), &|_| true).unwrap();
    assert_eq!(
        (bound.url.as_str(), bound.shown.as_str()),
        ("https://u:pw@h/?t=s3cret", "https://***@h/?t=(sensitive)")
    );
    assert_eq!(url.show(&Context::default(), &|_| false), "https://***@h/?t=${{ params.x }}");
    let base = compile("${{ params.x }}/a").unwrap();
    assert_eq!(base.show(&with("http://u:pw@h"), &|_| false), "http://***@h/a");
}

proptest::proptest! {
    /// Scheme, host, port, the number of path segments and of query pairs are the author's, whatever the value.
    #[test]
    fn no_value_changes_the_shape_of_a_url(value in "\\PC{0,20}|[/?#@:.%&=\\\\\\r\\n\\t a]{0,8}") {
        let text = "http://u:${{ params.x }}@host:8080/a/${{ params.x }}/b?q=${{ params.x }}&r=1#${{ params.x }}";
        if let Ok(bound) = bind(text, &value) {
            let parsed = url::Url::parse(&bound).unwrap();
            proptest::prop_assert_eq!((parsed.scheme(), parsed.host_str(), parsed.port()), ("http", Some("host"), Some(8080)));
            proptest::prop_assert_eq!(parsed.path_segments().unwrap().count(), 3);
            let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
            proptest::prop_assert_eq!(pairs, [("q".to_owned(), value.clone()), ("r".to_owned(), "1".to_owned())]);
        } else {
            proptest::prop_assert!(matches!(value.as_str(), "" | "." | ".."));
        }
    }

    /// A value in the host can only ever name a host below the author's.
    #[test]
    fn no_value_leaves_the_domain_of_the_author(value in "\\PC{0,12}|[a-z.:/@?#\\\\]{0,8}") {
        if let Ok(bound) = bind("http://${{ params.x }}.example.com/ready", &value) {
            let parsed = url::Url::parse(&bound);
            if let Ok(parsed) = parsed {
                proptest::prop_assert!(parsed.host_str().unwrap().ends_with(".example.com"));
                proptest::prop_assert_eq!(parsed.path(), "/ready");
            }
        }
    }
}
