//! The documents: their relative links lead somewhere, and the commands of the README exist.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::{files, none, output, root};

/// Lines of Markdown outside, and inside, of fenced code blocks.
fn split_fences(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut prose, mut code) = (Vec::new(), Vec::new());
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line);
        } else {
            prose.push(line);
        }
    }
    (prose, code)
}

/// The targets of `[text](target)` in a line, without those inside of `code`.
fn links(line: &str) -> Vec<&str> {
    let outside_of_code = line.split('`').step_by(2);
    outside_of_code
        .flat_map(|text| text.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.trim())
        .collect()
}

/// The anchor that a heading gets: lower case, spaces to hyphens, punctuation gone.
fn anchors(text: &str) -> BTreeSet<String> {
    let (prose, _) = split_fences(text);
    let headings = prose.into_iter().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// A path without `.` and `..`; nothing when it leaves the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir if normal.pop() => {}
            _ => return None,
        }
    }
    Some(normal)
}

/// Why a link of the document at `from` leads nowhere.
fn broken(from: &Path, target: &str, files: &[(PathBuf, String)]) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let to = match path {
        "" => from.to_owned(),
        path => match normal(&from.parent().unwrap().join(path)) {
            Some(to) => to,
            None => return Some("leaves the repository".to_owned()),
        },
    };
    let text = files.iter().find(|(path, _)| *path == to).map(|(_, text)| text);
    match text {
        None if files.iter().any(|(path, _)| path.starts_with(&to)) => None,
        None => Some("no such file".to_owned()),
        Some(text) if to.extension().is_some_and(|e| e == "md") && !anchor.is_empty() => {
            (!anchors(text).contains(anchor)).then(|| "no such heading".to_owned())
        }
        Some(_) => None,
    }
}

#[test]
fn links_are_read_and_judged() {
    assert_eq!(links("a [b](c.md) `[d](e)` and [f](g#h) [i]"), ["c.md", "g#h"]);
    let files = [
        (PathBuf::from("README.md"), "# One, two\n```\n# no\n```\n".to_owned()),
        (PathBuf::from("docs/a.md"), "## It's `b`\n".to_owned()),
    ];
    let broken = |from: &str, target: &str| broken(Path::new(from), target, &files);
    for target in ["docs/a.md", "docs/", "./docs/a.md#its-b", "#one-two", "https://example.com/x"] {
        assert_eq!(broken("README.md", target), None, "{target}");
    }
    assert_eq!(broken("docs/a.md", "../README.md#one-two"), None);
    for target in ["docs/b.md", "a.md", "docs/a.md#b", "#no", "../x.md", "/README.md"] {
        assert!(broken("README.md", target).is_some(), "{target}");
    }
}

#[test]
fn relative_links_resolve() {
    let files = files();
    let mut findings = Vec::new();
    let documents = files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "md"));
    for (path, text) in documents {
        for target in split_fences(text).0.into_iter().flat_map(links) {
            if let Some(why) = broken(path, target, &files) {
                findings.push(format!("{}: {target}: {why}", path.display()));
            }
        }
    }
    none("links that lead nowhere", &findings);
}

/// The commands in code blocks: lines that begin with a script or program of ours, after a prompt or not.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let lines = split_fences(text).1.into_iter();
    lines
        .map(|line| line.trim().trim_start_matches("$ "))
        .map(|line| line.split_whitespace().take_while(|word| *word != "#").collect::<Vec<_>>())
        .filter(|words| {
            words.first().is_some_and(|word| word.starts_with("./") || word.starts_with("keyward"))
        })
        .collect()
}

/// The subcommands of a command line: the plain words before the first option or argument in capitals.
fn subcommands<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let plain =
        |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    words.iter().skip(1).take_while(plain).copied().collect()
}

/// One of our programs, built beside this test.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join(name)
}

#[test]
fn commands_are_read() {
    let text =
        "`keyward no`\n```console\n$ ./check --all\nkeyward log verify EXPORT --keys F # why\noutput\n```\n";
    let commands = commands(text);
    assert_eq!(
        commands,
        [vec!["./check", "--all"], vec!["keyward", "log", "verify", "EXPORT", "--keys", "F"]]
    );
    assert_eq!(subcommands(&commands[1]), ["log", "verify"]);
}

/// Each script exists and may be run; each program of ours knows the subcommands and long options.
#[test]
fn the_commands_of_the_readme_exist() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("a README.md at the root");
    let commands = commands(&text);
    assert!(!commands.is_empty(), "the README shows no command");
    let mut findings = Vec::new();
    for words in commands {
        let line = words.join(" ");
        if words[0].starts_with("./") {
            let script = root().join(words[0]);
            if !is_executable(&script) {
                findings.push(format!("{line}: no such program"));
            }
            continue;
        }
        let program = program(words[0]);
        assert!(
            is_executable(&program),
            "{line}: no {}; cargo build --workspace --bins makes it",
            program.display()
        );
        let help = Command::new(&program).args(subcommands(&words)).arg("--help").output().unwrap();
        if !help.status.success() {
            findings.push(format!("{line}: {}", String::from_utf8_lossy(&help.stderr)));
            continue;
        }
        let help = String::from_utf8_lossy(&help.stdout);
        let options = words.iter().filter(|word| word.starts_with("--"));
        let options = options.map(|option| option.split('=').next().unwrap());
        let unknown = options.filter(|option| !help.contains(option));
        findings.extend(unknown.map(|option| format!("{line}: no option {option}")));
    }
    none("commands of the README that do not exist", &findings);
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[test]
fn scripts_parse() {
    for script in ["check", "sandbox", "scripts/setup.sh", ".ci/run"] {
        output(Command::new("bash").args(["-n", script]));
    }
}
