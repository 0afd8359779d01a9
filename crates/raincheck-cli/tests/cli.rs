//! What the program does, as console transcripts: one behaviour a file; and those of the README.

#[test]
fn the_transcripts_hold() {
    trycmd::TestCases::new().case("tests/cli/*.md").case("../../README.md");
}
