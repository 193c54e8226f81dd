//! Configurations and what becomes of them: `golden/*.txt`.
//!
//! A case is a heading `## what it shows`, files that start with `=== name` (the first is the root; `=== -g` is the
//! parameter of that option), a line `---`, and the messages or, where there are none, the tree. The files' folder is
//! written as `/conf`. With `UPDATE_GOLDEN=1` in the environment what is expected is written anew.

use std::fs;
use std::path::{Path, PathBuf};

use daemun_conf::{Diagnostics, Files, Root, parse, print};

#[test]
fn golden() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut books: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    books.sort();
    assert!(!books.is_empty(), "no goldens in {}", folder.display());
    for book in books {
        check_book(&book);
    }
}

fn check_book(book: &Path) {
    let text = fs::read_to_string(book).unwrap();
    let cases: Vec<Case<'_>> = text.split("## ").skip(1).map(Case::read).collect();
    assert!(!cases.is_empty(), "no case in {}", book.display());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let anew: String = cases
            .iter()
            .map(|case| format!("## {}---\n{}\n", case.input, case.outcome()))
            .collect();
        return fs::write(book, anew.trim_end().to_owned() + "\n").unwrap();
    }
    for case in cases {
        assert_eq!(
            case.outcome().trim_end(),
            case.expected.trim_end(),
            "{}: {}",
            book.display(),
            case.title()
        );
    }
}

struct Case<'a> {
    input: &'a str,
    expected: &'a str,
}

impl<'a> Case<'a> {
    fn read(text: &'a str) -> Self {
        let (input, expected) = text.split_once("---\n").expect("a case has a line ---");
        Case { input, expected }
    }

    fn title(&self) -> &str {
        self.input.lines().next().unwrap()
    }

    fn outcome(&self) -> String {
        let folder = self.write_files();
        let mut files = Files::default();
        let mut diagnostics = Diagnostics::default();
        let tree = parse(self.root(&folder), &folder, &mut files, &mut diagnostics);
        let text = match diagnostics.is_empty() {
            true => String::from_utf8_lossy(&print(&tree)).into_owned(),
            false => diagnostics.render("nginx", &files),
        };
        text.replace(folder.to_str().unwrap(), "/conf")
    }

    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.input.split("=== ").skip(1).map(|file| file.split_once('\n').unwrap())
    }

    fn root(&self, folder: &Path) -> Root {
        match self.files().next().unwrap() {
            ("-g", text) => Root::CommandLine(text.trim_end().into()),
            (name, _) => Root::Path(folder.join(name)),
        }
    }

    fn write_files(&self) -> PathBuf {
        let name: String = self.title().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in self.files().filter(|&(name, _)| name != "-g") {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }
}
