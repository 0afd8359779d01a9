//! What the program does, as console transcripts: one behaviour a file.

#[test]
fn the_transcripts_hold() {
    trycmd::TestCases::new().case("tests/cli/*.md");
}
