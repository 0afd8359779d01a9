//! Programs that must not compile, and what the compiler says to whoever writes them.
//!
//! A program in `tests/ui` states in lines that begin with `//~` what must be among the errors. The rest of their text
//! changes with the compiler.
#![cfg(feature = "task")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

#[test]
fn what_must_not_compile_does_not_and_says_why() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--bins", "--keep-going", "--message-format=json", "--quiet"])
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs, since it runs this");

    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for line in std::str::from_utf8(&output.stdout).unwrap().lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        if message["message"]["level"] == "error" {
            let program = message["target"]["name"].as_str().unwrap().to_owned();
            *said.entry(program).or_default() += message["message"]["rendered"].as_str().unwrap();
        }
    }

    let stderr = String::from_utf8_lossy(&output.stderr);
    let mut programs = 0;
    for entry in fs::read_dir(folder.join("src/bin")).unwrap() {
        let path = entry.unwrap().path();
        let program = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let errors = said.get(&program).unwrap_or_else(|| panic!("`{program}` compiles:\n{stderr}"));
        let text = fs::read_to_string(&path).unwrap();
        let mut expected = text.lines().filter_map(|line| line.strip_prefix("//~ ")).peekable();
        assert!(expected.peek().is_some(), "`{program}` expects nothing");
        for phrase in expected {
            assert!(errors.contains(phrase), "`{program}` does not say `{phrase}` but:\n{errors}");
        }
        programs += 1;
    }
    assert_eq!(said.len(), programs);
}
