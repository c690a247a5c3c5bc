//! No example of the manual or the README that nobody runs.

use crate::support::place::{in_shell_form, project, text_of, words};

const SOURCES: [&str; 4] = [
    include_str!("pages.rs"),
    include_str!("remote.rs"),
    include_str!("scripts.rs"),
    include_str!("other_tools.rs"),
];

/// These are not run here, and this is why.
const ELSEWHERE: [(&str, &str); 18] = [
    (
        "vpo-library restore latest",
        "asks on the terminal; with --yes it is run here",
    ),
    ("vpo-unpack-restore x.tar.gz", "asks on the terminal"),
    ("vpo-unpack-restore library.tar.gz", "asks on the terminal"),
    ("make", "builds"),
    (
        "sudo make install-systemd",
        "into a directory of its own by another test",
    ),
    (
        "systemctl --user enable --now vpo-library-backup.timer",
        "needs the session of a person",
    ),
    ("loginctl enable-linger", "needs the session of a person"),
    (
        "systemctl --user enable --now vpo-library-prune.timer",
        "needs the session of a person",
    ),
    (
        "systemctl --user edit vpo-library-prune.service",
        "needs the session of a person",
    ),
    ("sudo make install", "into a directory of its own by another test"),
    ("git clone URL vpo-library", "takes a network"),
    ("cd vpo-library", "the directory of the line before"),
    ("make deb", "builds"),
    ("sudo apt install ./target/debian/vpo-library_*.deb", "needs root"),
    ("make static", "builds"),
    (
        "tar xJf target/dist/vpo-library-*-linux.tar.xz -C /tmp",
        "needs what the line before builds",
    ),
    (
        "sudo cp -r /tmp/vpo-library-*-linux/{bin,lib,share} /usr/local/",
        "needs root",
    ),
    ("scp -r /tmp/vpo-library-*-linux/bin nas:", "needs what is built"),
];

/// The command lines of a manual page: behind `.Dl $`, and in displays behind `$`, with the lines that continue them.
fn of_page(source: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let (mut display, mut open) = (false, false);
    for line in source.lines() {
        if let Some(line) = line.strip_prefix(".Dl $ ") {
            found.push(line.into());
        }
        display = (display || line.starts_with(".Bd")) && !line.starts_with(".Ed");
        if display && let Some(line) = line.strip_prefix("$ ") {
            found.push(line.into());
            open = true;
        } else if display && open && line.starts_with("    ") {
            let last = found.last_mut().unwrap();
            last.push('\n');
            last.push_str(line);
        } else {
            open = false;
        }
    }
    found
}

#[test]
fn every_example_is_run() {
    let sources = words(&SOURCES.concat().replace("\\\"", "\"").replace("\\\\", "\\"));
    let mut examples: Vec<(String, String)> = Vec::new();
    for page in std::fs::read_dir(project("man")).unwrap() {
        let name = page.unwrap().file_name().to_string_lossy().into_owned();
        if project("man").join(&name).is_file() {
            let lines = of_page(&text_of(&format!("man/{name}")));
            examples.extend(
                lines
                    .into_iter()
                    .map(|line| (name.clone(), words(&in_shell_form(&line)))),
            );
        }
    }
    assert!(examples.len() > 50, "only {} examples", examples.len());
    let readme = text_of("README.md");
    let lines = readme.lines().filter_map(|line| line.strip_prefix("$ "));
    examples.extend(lines.map(|line| ("README.md".into(), words(line))));

    let run = |line: &String| sources.contains(line.as_str()) || ELSEWHERE.iter().any(|(known, _)| known == line);
    let forgotten: Vec<_> = examples.iter().filter(|(_, line)| !run(line)).collect();
    assert!(forgotten.is_empty(), "nobody runs {forgotten:#?}");
    for (known, why) in ELSEWHERE {
        assert!(
            examples.iter().any(|(_, line)| line == known),
            "{known} ({why}) is not an example any more"
        );
    }
}
