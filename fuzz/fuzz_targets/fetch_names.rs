//! Names of files: no header, URL, list or template makes one that leaves the folder.
#![no_main]
#![allow(dead_code, reason = "the modules are those of the tool, which uses more of them")]

#[path = "../../crates/raincheck-cli/src/by_number.rs"]
mod by_number;
#[path = "../../crates/raincheck-cli/src/commands/fetch/disposition.rs"]
mod disposition;
#[path = "../../crates/raincheck-cli/src/commands/fetch/hashes.rs"]
mod hashes;
#[path = "../../crates/raincheck-cli/src/commands/fetch/names.rs"]
mod names;
#[path = "../../crates/raincheck-cli/src/commands/fetch/template.rs"]
mod template;

use libfuzzer_sys::fuzz_target;
use url::Url;

use self::hashes::Key;
use self::names::Names;
use self::template::{Template, Values};

fuzz_target!(|input: (&[u8], &str, &str, u64)| {
    let (header, text, pattern, key) = input;
    let key = Key(key);
    let mut made = vec![names::path(text), names::part(text), names::part(&names::decoded(text))];
    made.extend(disposition::file_name(header));
    if let Ok(url) = Url::parse(&format!("http://h/{text}")) {
        made.push(names::of_url(&url));
        made.extend(Template::parse(pattern).map(|template| template.fill(Values { url: &url, key, number: 1 })));
    }
    let mut names = Names::default();
    for wanted in made {
        let name = names.claim(&wanted, key);
        assert!(name.len() < 4096, "{name:?}");
        for part in name.split('/') {
            let is_safe = !part.is_empty()
                && part.len() <= 255
                && !part.ends_with(['.', ' '])
                && !part.eq_ignore_ascii_case(names::OWN_FOLDER)
                && !part.chars().any(|char| char.is_control() || char == '\\');
            assert!(is_safe, "{name:?}");
        }
        assert!(names::may_come_of(&name, &wanted, key) || names::may_come_of(&wanted, &wanted, key), "{name:?}");
    }
});
