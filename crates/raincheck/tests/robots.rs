//! The example `robots`, run on logs that it makes itself.
#![cfg(feature = "task")]

#[path = "../examples/robots.rs"]
#[expect(dead_code, reason = "the test takes the place of `main`")]
mod robots;

#[test]
fn the_example_finds_every_robot() {
    let folder = std::env::temp_dir().join(format!("raincheck-robots-{}", std::process::id()));
    robots::make_logs(&folder).unwrap();
    let hosts = robots::all_robots(&folder);
    std::fs::remove_dir_all(&folder).unwrap();

    let expected = (0..110).step_by(11).map(|host| format!("192.0.2.{host}")).collect();
    assert_eq!(hosts.unwrap(), expected);
}
