//! What a response is linked with: the `Link` header of RFC 8288, by which long lists come page by page.

use http::{HeaderMap, header};
use url::Url;

/// Where the first link of this relation leads.
pub(super) fn find(headers: &HeaderMap, base: &Url, relation: &str) -> Option<Url> {
    let values = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let mut links = values.flat_map(|value| parts(value, ','));
    links.find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let has = parts(parameters, ';').any(|parameter| names(parameter, relation));
        has.then(|| base.join(target).ok()).flatten()
    })
}

/// Whether this parameter is the relations of a link, and has this one among them.
fn names(parameter: &str, relation: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("rel")
            && value.trim().trim_matches('"').split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case(relation))
    })
}

/// What stands between separators, but for those within quotes and URLs.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut inside = None;
    let mut escaped = false;
    text.split(move |c| {
        match inside {
            _ if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(end) if c == end => inside = None,
            Some(_) => {}
            None if c == '"' => inside = Some('"'),
            None if c == '<' => inside = Some('>'),
            None => return c == separator,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn found(values: &[&'static str], relation: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::LINK, HeaderValue::from_static(value));
        }
        find(&headers, &Url::parse("http://h/list?page=1").unwrap(), relation).map(String::from)
    }

    #[test]
    fn a_link_is_found_by_its_relation() {
        let github = "<http://h/list?page=2,3>; rel=\"next\", </list?page=9>; rel=last";

        assert_eq!(found(&[github], "next").unwrap(), "http://h/list?page=2,3");
        assert_eq!(found(&[github], "LAST").unwrap(), "http://h/list?page=9");
        let quoted = "<a>; title=\"\\\", <b>; rel=next, ; rel=next ;\"; rel=\"prev start\"";
        assert_eq!(found(&[quoted, "<c>; REL = next"], "next").unwrap(), "http://h/c");
        assert_eq!(found(&["<a>; title=\"x\"; rel=\"prev start\""], "start").unwrap(), "http://h/a");
    }

    #[test]
    fn what_is_no_link_leads_nowhere() {
        for value in
            ["", "a; rel=next", "<a; rel=next", "<a>", "<a>; rel", "<a>; rel=nextpage", "<http://>; rel=next", "\"<"]
        {
            assert_eq!(found(&[value], "next"), None, "{value}");
        }
    }
}
