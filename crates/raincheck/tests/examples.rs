//! The examples run, and show what they say.
#![cfg(feature = "process")]

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

/// Each example, and some of what it prints.
const EXAMPLES: [(&str, &[&str]); 11] = [
    ("actors", &["withdraw 500: Ok(100)", "withdraw 500: Err(\"only 100 left\")", "closed with 100"]),
    ("channels", &["[2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71]"]),
    ("data_parallelism", &["####"]),
    ("hash_tree", &["oak/leaf 1", "elm/leaf 4"]),
    ("long_file", &["the longest of 50000 lines has 244 words"]),
    ("map_reduce", &["1990: ", "1994: "]),
    (
        "pdf_service",
        &[
            "20 documents of ",
            "a text that crashes it: 500, task lost its worker",
            "a text that has no end: 504, task timed out",
            "a text that is none the worse: 200",
        ],
    ),
    ("producer_consumer", &["20 pancakes eaten, and never more than "]),
    ("robots", &["192.0.2.0", "192.0.2.99"]),
    ("sha", &["4 workers, elapsed time: "]),
    ("word_count", &[" the\n", " just\n"]),
];

#[test]
fn every_example_shows_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let there: BTreeSet<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let there: Vec<_> = there.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(there, EXAMPLES.map(|(name, _)| name), "each example has its line above");

    // `cargo test` builds them all, beside the folder that this test is in; `cargo test --test examples` alone does not.
    let this = env::current_exe().unwrap();
    let built = this.ancestors().nth(2).unwrap().join("examples");
    for (name, phrases) in EXAMPLES {
        let output = Command::new(built.join(name))
            .output()
            .unwrap_or_else(|error| panic!("`{name}` cannot be run: {error}; `cargo build --examples` makes it"));
        let (shown, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));

        assert!(output.status.success(), "`{name}` failed:\n{told}");
        for phrase in phrases {
            assert!(shown.contains(phrase), "`{name}` does not print `{phrase}` but:\n{shown}");
        }
    }
}
