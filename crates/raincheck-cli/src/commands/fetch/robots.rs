//! What sites ask of robots: `robots.txt`, as RFC 9309 has it, and the header `X-Robots-Tag`.
//!
//! This file knows nothing of the rest of the program, so that it can be fuzzed.

/// As much of a `robots.txt` is read; what comes after counts for nothing.
pub(crate) const LONGEST: usize = 500 * 1024;

/// What a site allows a robot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    allows: bool,
    /// The beginning of paths, in which `*` is anything, and `$` at the end is the end.
    pattern: String,
}

impl Rules {
    /// There are none: everything is allowed.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Reads a `robots.txt`: the rules for `robot`, a name such as `Googlebot`; or, where it is not named, those for all.
    pub(crate) fn parse(text: &[u8], robot: &str) -> Self {
        let text = String::from_utf8_lossy(&text[..text.len().min(LONGEST)]);
        let (mut named, mut general) = (None::<Vec<Rule>>, Vec::new());
        // Which of them the group that is being read is for.
        let (mut is_named, mut is_general, mut in_heads) = (false, false, false);
        for line in text.trim_start_matches('\u{feff}').split(['\r', '\n']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match &*name.trim().to_ascii_lowercase() {
                "user-agent" => {
                    if !in_heads {
                        (is_named, is_general, in_heads) = (false, false, true);
                    }
                    if product(value).eq_ignore_ascii_case(robot) {
                        is_named = true;
                        // A group without rules allows everything, whatever is asked of others.
                        named.get_or_insert_default();
                    }
                    is_general |= value == "*";
                }
                kind @ ("allow" | "disallow") => {
                    in_heads = false;
                    if value.is_empty() {
                        continue;
                    }
                    let rule = Rule { allows: kind == "allow", pattern: normal(value) };
                    if is_named {
                        named.get_or_insert_default().push(rule.clone());
                    }
                    if is_general {
                        general.push(rule);
                    }
                }
                // What is not known is no part of a group, and ends none.
                _ => {}
            }
        }
        Self(named.unwrap_or(general))
    }

    /// Whether a path, with its query, may be fetched: as the longest rule says that fits, and in doubt, yes.
    pub(crate) fn allow(&self, path: &str) -> bool {
        let path = normal(path);
        let fitting = self.0.iter().filter(|rule| fits(rule.pattern.as_bytes(), path.as_bytes()));
        let strongest = fitting.max_by_key(|rule| (rule.pattern.len(), rule.allows));
        path == "/robots.txt" || strongest.is_none_or(|rule| rule.allows)
    }
}

/// The name of a robot alone: `Some/1.0 (x)` is `Some`.
pub(crate) fn product(agent: &str) -> &str {
    let end =
        agent.find(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '-' | '_'))).unwrap_or(agent.len());
    &agent[..end]
}

/// What a header `X-Robots-Tag` forbids: the word by which it does, if it means `robot` or all.
pub(crate) fn forbidden_by<'t>(tag: &'t str, robot: &str) -> Option<&'t str> {
    let mut means_us = true;
    for word in tag.split(',') {
        let mut word = word.trim();
        if let Some((agent, rest)) = word.split_once(':')
            && !agent.trim().eq_ignore_ascii_case("unavailable_after")
            && !agent.trim().starts_with("max-")
        {
            // It holds for all that follows, until the next one.
            means_us = agent.trim().eq_ignore_ascii_case(robot) || agent.trim() == "*";
            word = rest.trim();
        }
        let forbids = ["noai", "noimageai", "noindex", "noimageindex", "none"];
        if means_us && forbids.iter().any(|forbids| word.eq_ignore_ascii_case(forbids)) {
            return Some(word);
        }
    }
    None
}

/// The same for all ways to write a path: what need not be escaped is not, and what must be is, in capital letters.
fn normal(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut normal = String::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = (*byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let escaped = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => normal.push(byte.into()),
            Some(byte) => normal += &format!("%{byte:02X}"),
            None if byte.is_ascii_graphic() => normal.push((*byte).into()),
            None => normal += &format!("%{byte:02X}"),
        }
        at += if escaped.is_some() { 3 } else { 1 };
    }
    normal
}

/// Whether a path begins as the pattern says. Takes no longer than the product of their lengths.
fn fits(pattern: &[u8], path: &[u8]) -> bool {
    let (pattern, to_the_end) = match pattern.split_last() {
        Some((b'$', pattern)) => (pattern, true),
        _ => (pattern, false),
    };
    let (mut at, mut place) = (0, 0);
    // Where the last star stands, and where what it stands for ended, which may be further on.
    let mut star = None;
    loop {
        match pattern.get(at) {
            None if !to_the_end || place == path.len() => return true,
            Some(b'*') => {
                at += 1;
                star = Some((at, place));
                continue;
            }
            Some(byte) if path.get(place) == Some(byte) => {
                (at, place) = (at + 1, place + 1);
                continue;
            }
            _ => {}
        }
        match star {
            Some((after, from)) if from < path.len() => {
                star = Some((after, from + 1));
                (at, place) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allow(text: &str, path: &str) -> bool {
        Rules::parse(text.as_bytes(), "raincheck").allow(path)
    }

    #[test]
    fn the_longest_rule_counts_and_in_doubt_the_milder_one() {
        let text = "User-agent: *\nDisallow: /a\nAllow: /a/b\nDisallow: /a/b/c\nAllow: /d\nDisallow: /d\n";

        for (path, allowed) in [
            ("/", true),
            ("/a", false),
            ("/ax", false),
            ("/a/b", true),
            ("/a/b/x", true),
            ("/a/b/c/x", false),
            ("/d", true),
        ] {
            assert_eq!(allow(text, path), allowed, "{path}");
        }
    }

    #[test]
    fn stars_and_dollars_mean_what_the_rfc_says() {
        for (pattern, path, fits) in [
            ("/*.gif$", "/x/y.gif", true),
            ("/*.gif$", "/x.gif?y", false),
            ("/*.gif", "/x.gif?y", true),
            ("/a*b*c", "/aXbYc", true),
            ("/a*b*c", "/acb", false),
            ("/a$", "/a", true),
            ("/a$", "/ab", false),
            ("/$x", "/$x", true),
            ("*/b", "/a/b", true),
            ("/a*$", "/abc", true),
            ("/*a*a*b$", "/aaaaaaaa", false),
        ] {
            assert_eq!(!allow(&format!("user-agent: *\ndisallow: {pattern}"), path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn a_group_of_our_own_takes_the_place_of_that_for_all() {
        let text = "User-Agent: other\nUser-Agent: RainCheck/2.0\nDisallow: /ours\n\nUser-agent: *\nDisallow: /\n\n\
                    User-agent: raincheck\nSitemap: x\nDisallow: /more # and so on\n";

        for (path, allowed) in [("/ours", false), ("/more", false), ("/x", true)] {
            assert_eq!(allow(text, path), allowed, "{path}");
        }
        assert!(allow("User-agent: raincheck\nDisallow:\nUser-agent: *\nDisallow: /", "/a"));
        assert!(!allow("User-agent: rain\nDisallow:\nUser-agent: *\nDisallow: /", "/a"));
    }

    #[test]
    fn paths_are_the_same_however_they_are_escaped() {
        assert!(!allow("user-agent: *\ndisallow: /%7efoo/ö", "/~foo/%c3%b6"));
        assert!(!allow("user-agent: *\ndisallow: /a%2fb", "/a%2Fb"));
        assert!(allow("user-agent: *\ndisallow: /a%2fb", "/a/b"));
    }

    #[test]
    fn what_is_there_is_read_however_it_is_written() {
        assert!(!allow("\u{feff}USER-AGENT:*\rDISALLOW:/a", "/a"));
        assert!(!allow("user-agent: *\n\n\ndisallow: /a", "/a"));
        assert!(allow("disallow: /a", "/a"), "a rule outside of any group is none");
        assert!(allow("", "/a"));
        assert!(allow("user-agent: *\ndisallow: /", "/robots.txt"));
        let long = format!("user-agent: *\n{}\ndisallow: /a", "#".repeat(LONGEST));
        assert!(allow(&long, "/a"));
    }

    #[test]
    fn a_header_forbids_to_all_or_to_those_it_names() {
        for (tag, word) in [
            ("noai", Some("noai")),
            ("index, NoImageAI", Some("NoImageAI")),
            ("all", None),
            ("otherbot: noindex", None),
            ("otherbot: noindex, nofollow, raincheck: noindex", Some("noindex")),
            ("raincheck: none", Some("none")),
            ("unavailable_after: 25 Jun 2010 15:00:00 PST, noai", Some("noai")),
            ("max-snippet: 3, noai", Some("noai")),
            ("", None),
        ] {
            assert_eq!(forbidden_by(tag, "raincheck"), word, "{tag}");
        }
        assert_eq!(product("Some-bot/1.0 (x)"), "Some-bot");
    }

    proptest! {
        #[test]
        fn nothing_breaks_the_reader_or_takes_it_long(text in any::<Vec<u8>>(), rules in "(user-agent: \\*\n)?(disallow: [/*a$%]{0,40}\n){0,5}", path in "/[a/%2]{0,60}") {
            Rules::parse(&text, "raincheck").allow(&path);
            Rules::parse(rules.as_bytes(), "raincheck").allow(&path);
        }
    }
}
