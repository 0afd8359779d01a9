//! `raincheck hash` beside the tools it replaces: the same bytes out, and the same judgement.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn raincheck() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
    command.arg("hash");
    command
}

/// A tool that the tests compare with.
fn peer(name: &str) -> Command {
    let there = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(there.is_ok(), "`{name}` is not installed: run scripts/test-tools");
    Command::new(name)
}

fn output(command: &mut Command, dir: &Path) -> Output {
    command.current_dir(dir).stdin(Stdio::null()).output().unwrap()
}

fn stdout(command: &mut Command, dir: &Path) -> Vec<u8> {
    output(command, dir).stdout
}

#[track_caller]
fn assert_same(ours: &[u8], theirs: &[u8], what: &str) {
    assert!(ours == theirs, "{what}\nours:\n{}\ntheirs:\n{}", ours.escape_ascii(), theirs.escape_ascii());
}

/// A generator that says the same each time (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(length).collect()
    }
}

/// Names that break what is written without thought.
const ODD_NAMES: [&[u8]; 10] = [
    b"plain",
    b" leading and trailing ",
    b"new\nline",
    b"back\\slash",
    b"carriage\rreturn",
    b"not UTF-8 \xff\xfe",
    b"*star",
    b"\xe2\x98\x82 umbrella",
    b"a) = b",
    b"tab\tand \x1b[31mred",
];

/// Lengths around those that blocks and buffers end at.
const MANY_LENGTHS: [usize; 10] = [0, 1, 63, 64, 65, 1024, 262_143, 262_145, 300_000, 524_288];

/// For what is about names.
const SHORT: [usize; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/// A folder of files with odd names, and these lengths.
fn odd_files(lengths: [usize; 10]) -> (TempDir, Vec<OsString>) {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(1);
    let names = ODD_NAMES.map(|name| OsString::from_vec(name.to_vec()));
    for (name, length) in names.iter().zip(lengths) {
        fs::write(dir.path().join(name), random.bytes(length)).unwrap();
    }
    (dir, names.to_vec())
}

#[test]
fn lines_are_those_of_coreutils() {
    let (dir, names) = odd_files(MANY_LENGTHS);
    for (algorithm, tool) in [("sha256", "sha256sum"), ("sha512", "sha512sum"), ("sha1", "sha1sum"), ("md5", "md5sum")]
    {
        for options in [&[][..], &["--tag"], &["--zero"], &["--binary"], &["--tag", "-z"], &["-b", "-z"]] {
            let ours = output(raincheck().args(["-a", algorithm]).args(options).arg("--").args(&names), dir.path());
            let theirs = stdout(peer(tool).args(options).arg("--").args(&names), dir.path());

            assert_same(&ours.stdout, &theirs, &format!("{tool} {options:?}"));
            assert_eq!((ours.status.code(), &*ours.stderr), (Some(0), &b""[..]));
        }
    }
}

#[test]
fn lines_are_those_of_b3sum() {
    let (dir, names) = odd_files(MANY_LENGTHS);
    // Where a name is no text, b3sum writes one that it cannot read back itself; and older ones leave `\r` as it is.
    let mut names: Vec<_> =
        names.into_iter().filter(|name| name.to_str().is_some_and(|name| !name.contains('\r'))).collect();

    // One that several threads share, which ends within the share of one.
    fs::write(dir.path().join("large"), Random(4).bytes(9_000_001)).unwrap();
    names.push("large".into());

    let ours = stdout(raincheck().args(["-a", "blake3", "--"]).args(&names), dir.path());
    let theirs = stdout(peer("b3sum").arg("--").args(&names), dir.path());

    assert_same(&ours, &theirs, "b3sum");
}

#[test]
fn standard_input_is_hashed_like_a_file() {
    let piped = |command: &mut Command| {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"no umbrella").unwrap();
        child.wait_with_output().unwrap().stdout
    };

    assert_same(&piped(&mut raincheck()), &piped(&mut peer("sha256sum")), "without a name");
    assert_same(&piped(raincheck().arg("-")), &piped(peer("sha256sum").arg("-")), "as `-`");
}

#[test]
fn a_tree_is_what_find_finds_in_the_order_of_the_names() {
    let (dir, _) = odd_files(SHORT);
    let below = dir.path().join("sub.dir/.hidden");
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("x"), "x").unwrap();
    fs::write(dir.path().join("sub"), "y").unwrap();
    std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink("..", below.join("loop")).unwrap();
    let lists = tempfile::tempdir().unwrap();
    let find = stdout(peer("find").args([".", "-type", "f", "-print0"]), dir.path());
    let list = lists.path().join("list");
    fs::write(&list, &find).unwrap();

    let ours = stdout(raincheck().args(["-z", "."]), dir.path());

    let mut names: Vec<&OsStr> =
        find.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(OsStr::from_bytes).collect();
    names.sort_by(|a, b| Path::new(a).cmp(Path::new(b)));
    assert_same(&ours, &stdout(peer("sha256sum").arg("-z").args(&names), dir.path()), "a tree");
    let mut listed = raincheck();
    listed.arg("-z").arg("--files0-from").arg(&list);
    let theirs = stdout(peer("sh").args(["-c", "xargs -0 sha256sum -z < $0"]).arg(&list), dir.path());
    assert_same(&stdout(&mut listed, dir.path()), &theirs, "the list of a tree");
}

#[test]
fn every_executor_writes_the_same_in_the_same_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(2);
    for number in 0..300 {
        // Some take far longer than those that come after them.
        let length = if number % 50 == 0 { 3_000_000 } else { random.below(100) };
        fs::write(dir.path().join(format!("{number:03}")), random.bytes(length)).unwrap();
    }
    let hash = |executor| stdout(raincheck().args(["--executor", executor, "--jobs", "3", "."]), dir.path());

    let inline = hash("inline");

    assert_eq!(inline.iter().filter(|byte| **byte == b'\n').count(), 300);
    assert_same(&hash("thread"), &inline, "thread");
    assert_same(&hash("tokio"), &inline, "tokio");
}

#[test]
fn every_list_that_is_written_can_be_checked() {
    let (dir, names) = odd_files(MANY_LENGTHS);
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("SUMS");
    for options in [
        &["-a", "sha256,sha512,sha1,md5,blake3,crc32c"][..],
        &["-a", "sha256,blake3", "--zero"],
        &["-a", "crc32c"],
        &["-a", "md5", "--tag"],
        &["--binary"],
        &["--zero"],
    ] {
        fs::write(&list, stdout(raincheck().args(options).arg("--").args(&names), dir.path())).unwrap();
        let zero = if options.contains(&"--zero") { &["--zero"][..] } else { &[] };

        let check = output(raincheck().args(zero).arg("--check").arg(&list), dir.path());

        assert_eq!(check.status.code(), Some(0), "{options:?}\n{}", check.stdout.escape_ascii());
        let ending = if zero.is_empty() { b"\n" } else { b"\0" };
        let words = [b": OK", &ending[..]].concat();
        let count = check.stdout.windows(words.len()).filter(|bytes| *bytes == words).count();
        assert!(count > 0 && count % names.len() == 0, "{options:?}: {count}");
        assert!(check.stderr.is_empty(), "{}", check.stderr.escape_ascii());
    }
}

#[test]
fn lists_are_exchanged_with_coreutils_and_b3sum() {
    let (dir, names) = odd_files(SHORT);
    let lists = tempfile::tempdir().unwrap();
    let list = lists.path().join("SUMS");
    for options in [&[][..], &["--tag"], &["--binary"]] {
        let ours = stdout(raincheck().args(options).arg("--").args(&names), dir.path());
        fs::write(&list, &ours).unwrap();
        let judged =
            [raincheck().arg("-c"), peer("sha256sum").arg("-c")].map(|check| stdout(check.arg(&list), dir.path()));
        assert_same(&judged[0], &judged[1], &format!("{options:?}"));
    }
    let plain = ["plain", "*star", "new\nline", "back\\slash"];
    fs::write(&list, stdout(peer("b3sum").arg("--").args(plain), dir.path())).unwrap();
    let check = output(raincheck().args(["-a", "blake3", "-c"]).arg(&list), dir.path());
    assert_eq!(check.status.code(), Some(0), "{}", check.stdout.escape_ascii());
}

/// Thousands of lines that are right, nearly right and wrong, and both tools' word on each.
#[test]
fn lists_are_judged_as_coreutils_judge_them() {
    let (dir, _) = odd_files(SHORT);
    let sums = stdout(raincheck().arg("."), dir.path());
    let lines: Vec<Vec<u8>> = sums.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let list = dir.path().join("LIST");
    let mut random = Random(3);
    for round in 0..120 {
        let text: Vec<u8> = (0..30).flat_map(|_| odd_line(&mut random, &lines)).collect();
        fs::write(&list, &text).unwrap();
        let mut options = vec!["-c", "LIST"];
        options.extend(["--ignore-missing", "--strict", "--quiet"].into_iter().filter(|_| random.below(4) == 0));
        // The last of these two counts; and to coreutils, `--quiet` is a third.
        if !options.contains(&"--quiet") {
            options.extend(["--warn", "--status"].into_iter().filter(|_| random.below(3) == 0));
        }

        let ours = output(raincheck().args(["-a", "sha256"]).args(&options), dir.path());
        let theirs = output(peer("sha256sum").args(&options), dir.path());

        let what = format!("round {round}: {options:?}\n{}", text.escape_ascii());
        assert_same(&ours.stdout, &theirs.stdout, &what);
        assert_eq!(ours.status.code(), theirs.status.code(), "{what}");
        assert_eq!(told(&ours, "warning: "), told(&theirs, "sha256sum: "), "{what}");
    }
}

/// A line of a list, with something done to it.
fn odd_line(random: &mut Random, lines: &[Vec<u8>]) -> Vec<u8> {
    let line = &lines[random.below(lines.len())];
    let (head, sum_and_name) = match line.strip_prefix(b"\\") {
        Some(rest) => (&b"\\"[..], rest),
        None => (&b""[..], &line[..]),
    };
    let (sum, name) = sum_and_name.split_at(sum_and_name.len().min(64));
    let name = name.get(2..).unwrap_or_default();
    let tag = |open: &[u8], close: &[u8]| [head, open, name, close, sum].concat();
    let mut text = match random.below(16) {
        0 => tag(b"SHA256 (", b") = "),
        1 => tag(b"SHA256(", b")= "),
        2 => tag(b"SHA256  (", b") = "),
        3 => tag(b"SHA1 (", b") = "),
        4 => [head, sum, b" *", name].concat(),
        5 => [head, sum, b"\t ", name].concat(),
        6 => [head, sum, b" ", name].concat(),
        7 => [b" \t", head, sum, b"  ", name].concat(),
        8 => [head, &sum.to_ascii_uppercase()[..], b"  ", name].concat(),
        9 => [head, sum, b"  no such file"].concat(),
        10 => [b"# ", &line[..]].concat(),
        _ => line.clone(),
    };
    for _ in 0..[0, 0, 0, 1, 2][random.below(5)] {
        let (start, extra) = (random.below(text.len() + 1), random.below(3));
        let odd = random.pick(&[&b""[..], b" ", b"\\", b"*", b")", b"(", b"=", b"0", b"\r", b"\\n", b"\xff"]).to_vec();
        text.splice(start..(start + extra).min(text.len()), odd);
    }
    text.extend_from_slice(random.pick(&[&b"\n"[..], b"\n", b"\n", b"\r\n", b"\n\n"]));
    text
}

/// What stderr says of the list as a whole. (Of single files each tool speaks in its own way.)
fn told(output: &Output, head: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let of_the_list = ["improperly formatted", "could not be read", "did NOT match", "no file was", "no properly"];
    text.lines()
        .filter(|line| of_the_list.iter().any(|words| line.contains(words)))
        .map(|line| line.strip_prefix(head).unwrap_or(line).trim_start_matches("WARNING: ").to_string())
        .collect()
}

#[test]
fn what_cannot_be_hashed_is_told_and_the_rest_goes_on() {
    let (dir, _) = odd_files(SHORT);
    std::os::unix::fs::symlink("around", dir.path().join("around")).unwrap();

    let ours = output(raincheck().args(["plain", "gone", "around", "*star"]), dir.path());

    let theirs = output(peer("sha256sum").args(["plain", "gone", "around", "*star"]), dir.path());
    assert_same(&ours.stdout, &theirs.stdout, "what could be hashed");
    assert_eq!(ours.status.code(), theirs.status.code());
    let told = String::from_utf8(ours.stderr).unwrap();
    assert!(told.contains("`gone` not found") && told.contains("`around` failed: Too many levels"), "{told}");
}

#[test]
fn links_in_a_tree_are_followed_where_asked_and_one_that_leads_back_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/file"), "x").unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink("..", dir.path().join("sub/back")).unwrap();
    std::os::unix::fs::symlink("no-such", dir.path().join("sub/gone")).unwrap();
    let names = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(|line| line[66..].to_string()).collect::<Vec<_>>()
    };

    let plain = output(raincheck().arg("."), dir.path());
    let following = output(raincheck().args(["--follow", "."]), dir.path());

    assert_eq!((names(&plain), plain.status.code()), (vec!["./sub/file".into()], Some(0)));
    assert_eq!((names(&following), following.status.code()), (vec!["./link".into(), "./sub/file".into()], Some(1)));
    let told = String::from_utf8_lossy(&following.stderr);
    assert!(told.contains("`./sub/back` failed: it leads back to `.`"), "{told}");
    assert!(told.contains("`./sub/gone` failed: No such file or directory\n"), "{told}");
}

#[test]
fn the_list_itself_is_not_hashed_where_it_is_written_into_the_tree() {
    let (dir, names) = odd_files(SHORT);
    let list = fs::File::create(dir.path().join("SUMS")).unwrap();

    raincheck().args(["-z", "."]).current_dir(dir.path()).stdout(list).status().unwrap();

    let text = fs::read(dir.path().join("SUMS")).unwrap();
    assert_eq!(text.iter().filter(|byte| **byte == 0).count(), names.len());
}

#[test]
fn a_list_is_hashed_on_processes_but_for_standard_input_which_they_do_not_have() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    fs::write(dir.path().join("list"), "file\n-\n").unwrap();

    let ours = output(raincheck().args(["--executor", "process", "--files-from", "list"]), dir.path());

    let theirs = output(peer("sha256sum").arg("file"), dir.path());
    assert_same(&ours.stdout, &theirs.stdout, "what could be hashed");
    assert_eq!(ours.status.code(), Some(1));
    let told = String::from_utf8(ours.stderr).unwrap();
    assert!(told.contains("`-` failed: another process cannot read the standard input"), "{told}");
}

#[test]
fn a_reader_that_has_gone_is_told_by_the_exit_code_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    // More than is gathered before it is written.
    fs::write(dir.path().join("list"), "file\n".repeat(20_000)).unwrap();
    let (nobody, pipe) = std::io::pipe().unwrap();
    drop(nobody);

    let ours = raincheck().args(["--files-from", "list"]).current_dir(dir.path()).stdout(pipe).output().unwrap();

    assert_eq!((ours.status.code(), String::from_utf8(ours.stderr).unwrap()), (Some(141), String::new()));
}

#[test]
fn one_ctrl_c_ends_the_job_that_runs_on_the_main_thread() {
    let dir = tempfile::tempdir().unwrap();
    // With nothing in it, but long enough to be read for minutes.
    fs::File::create(dir.path().join("long")).unwrap().set_len(64 << 30).unwrap();
    let mut child = raincheck()
        .args(["--executor", "inline", "--progress", "json", "long"])
        .current_dir(dir.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(r#""event":"started""#)));

    let asked = peer("kill").args(["-INT", &child.id().to_string()]).status().unwrap();

    assert!(asked.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.any(|line| line.contains(r#""cancelled":1"#)));
}

#[test]
fn one_ctrl_c_ends_what_would_never_end() {
    let mut child = raincheck()
        .args(["--progress", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // Standard input stays open, so that it is still being read; waiting for the child would close it.
    let _open = child.stdin.take();
    assert!(lines.any(|line| line.contains(r#""event":"started""#)));

    let asked = peer("kill").args(["-INT", &child.id().to_string()]).status().unwrap();

    assert!(asked.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.any(|line| line.contains(r#""interrupted":true"#)));
}
