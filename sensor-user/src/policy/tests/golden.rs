//! What is said of mistakes, word for word: every file of `mistakes/` beside the text that it
//! yields. `WEIR_BLESS=1` writes the texts anew; read what changed.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;

const MISTAKES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/tests/mistakes");

/// Late enough for everything that ends in these files to have ended.
const LATER_UNIX_S: u64 = 1_900_000_000;

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(MISTAKES).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
    files.sort();
    files
}

/// What is said of a file.
fn said(path: &Path) -> Vec<Diagnostic> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(path).unwrap();
    match parse(&name, &text, Path::new("/nonexistent"), &ServiceIds::default()) {
        Ok(policy) => policy.warnings.iter().chain(policy.ended(LATER_UNIX_S)).cloned().collect(),
        Err(errors) => errors.diagnostics.into_iter().chain(errors.warnings).collect(),
    }
}

#[test]
fn what_is_said_of_mistakes() {
    let bless = std::env::var_os("WEIR_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in files() {
        let texts: Vec<String> = said(&path).iter().map(|it| format!("{it}\n")).collect();
        let text = texts.join("\n");
        let golden = path.with_extension("txt");
        if bless {
            fs::write(&golden, &text).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != text {
            wrong.push(format!("{} now says:\n{text}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn they_are_many_and_differ() {
    let messages: BTreeSet<String> =
        files().iter().flat_map(|path| said(path)).map(|it| it.message).collect();
    assert!(messages.len() >= 160, "only {} different messages", messages.len());
}

#[test]
fn a_mark_stands_under_what_is_meant() {
    let mut checked = 0;
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        for diagnostic in said(&path) {
            let at = format!("{diagnostic}");
            if diagnostic.line == 0 {
                continue;
            }
            let line = text.lines().nth(diagnostic.line as usize - 1).unwrap_or_default();
            let rest: String = line.chars().skip(diagnostic.column as usize - 1).collect();
            let Some(named) = diagnostic.message.strip_prefix("there is no feature `") else {
                continue;
            };
            let named = named.trim_end_matches('`');
            let is_escaped = line.contains('\\');
            assert!(rest.starts_with(named) || is_escaped && rest.starts_with("source."), "{at}");
            checked += 1;
        }
    }
    assert!(checked >= 25, "only {checked}");
}

#[test]
fn hostile_files_are_refused_in_time() {
    let deep =
        |open: &str, close: &str| format!("a: {}{}\n", open.repeat(5000), close.repeat(5000));
    let bomb = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let before = format!("*a{}", n - 1);
        format!("{text}a{n}: &a{n} [{}]\n", vec![before; 9].join(", "))
    });
    let huge = format!("kind: Site\nsensor: {{profiles: {}}}\n", "9".repeat(400));
    let wide = format!("kind: Site\nservices: {{{}}}\n", "a: {}, ".repeat(20_000));
    let many: String = (0..10_000).map(|n| format!("n{n}: 1\n")).collect();
    let texts = [
        deep("[", "]"),
        deep("{a: ", "}"),
        deep("- ", ""),
        bomb,
        huge,
        wide,
        format!("kind: Site\n{many}"),
        format!("kind: Site\nservices:\n{}", "  login: {tcp: [443]}\n".repeat(5_000)),
        "\0\u{1}\u{2}".to_owned(),
        "%YAML 9.9\n---\nkind: Site\n".to_owned(),
        "!!binary aGVsbG8=\n".to_owned(),
        "kind: !!python/object:os.system x\n".to_owned(),
        "? {a: b}\n: c\n".to_owned(),
        "kind: Site\n<<: {services: 7}\n".to_owned(),
        format!(
            "kind: Site\nservices: {{login: {{tcp: [443], sni: [\"{}\"]}}}}\n",
            "a.".repeat(9999)
        ),
        "---\n".repeat(10_000),
    ];
    for text in texts {
        let begin: String = text.chars().take(40).collect();
        let begun = std::time::Instant::now();
        let result = parse("x", &text, Path::new("/nonexistent"), &ServiceIds::default());
        assert!(result.is_err(), "{begin:?} compiles");
        assert!(begun.elapsed().as_secs() < 60, "{begin:?}: {:?}", begun.elapsed());
    }
}
