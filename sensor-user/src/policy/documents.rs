//! From files to documents: includes are followed, and what includes goes over what is included.
//!
//! A Site can name files that it builds on (`include: [site.yaml]`). Its own fields go over theirs,
//! mapping by mapping, and a Policy goes over an included one of the same name. So an environment
//! is a file that says what is different there, and nothing twice.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{
    diagnostic::{Report, Span},
    files,
    reader::{list, text},
    tree::{self, Key, Node, Value},
};

/// How deep files may include each other.
const DEEPEST: usize = 8;

/// Most files that are read together.
const MOST_FILES: usize = 256;

/// A document, and the places of all documents that it was made of.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) node: Node,
    pub(super) parts: Vec<Span>,
}

/// Reads a file, or all policy files of a folder; `None` if the report says why nothing is there.
pub(super) fn read(report: &mut Report<'_>, path: &Path) -> Option<Vec<Document>> {
    let is_folder = path.is_dir();
    let files = if is_folder { files::of_folder(path) } else { Ok(vec![path.to_owned()]) };
    let files = match files {
        Ok(files) => files,
        Err(error) => {
            let help = Some(error.help().to_owned());
            report.error(Span::default(), error.to_string(), help);
            return None;
        }
    };
    let folder = if is_folder { path } else { path.parent().unwrap_or(Path::new("")) };
    let mut reader = Reader { report, root: canonical(folder), read: BTreeSet::new() };
    let mut roots: Vec<Root> = files.iter().filter_map(|file| reader.root(file)).collect();
    // What another file includes is read with that one.
    let included: BTreeSet<PathBuf> = roots.iter().flat_map(|root| reader.targets(root)).collect();
    roots.sort_by_key(|root| included.contains(&root.canonical));
    let mut documents = Vec::new();
    for root in roots {
        if reader.read.insert(root.canonical.clone()) {
            let mut above = vec![root.canonical];
            documents.extend(reader.resolve(root.documents, &mut above));
        }
    }
    Some(documents)
}

/// Reads a single text; files that it includes are beside it.
pub(super) fn of_text<'a>(
    report: &mut Report<'a>,
    name: &str,
    text: &'a str,
    directory: &Path,
) -> Option<Vec<Document>> {
    let file = report.add(name, Cow::Borrowed(text), directory.to_owned());
    let documents = tree::parse(report, file)?;
    let root = canonical(directory);
    let mut above = vec![root.join(name)];
    Some(Reader { report, root, read: BTreeSet::new() }.resolve(documents, &mut above))
}

/// A file of its own.
struct Root {
    canonical: PathBuf,
    documents: Vec<Node>,
}

struct Reader<'r, 'a> {
    report: &'r mut Report<'a>,
    /// Nothing outside this folder is included.
    root: PathBuf,
    read: BTreeSet<PathBuf>,
}

impl Reader<'_, '_> {
    fn root(&mut self, path: &Path) -> Option<Root> {
        let text = match files::read(path) {
            Ok(text) => text,
            Err(error) => {
                let file = self.report.add(&path.display().to_string(), "".into(), PathBuf::new());
                let help = Some(error.help().to_owned());
                let at = Span { file, ..Span::default() };
                self.report.error(at, error.to_string(), help);
                return None;
            }
        };
        let documents = self.parse(path, text)?;
        Some(Root { canonical: canonical(path), documents })
    }

    fn parse(&mut self, path: &Path, text: String) -> Option<Vec<Node>> {
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let file = self.report.add(&path.display().to_string(), Cow::Owned(text), directory);
        tree::parse(self.report, file)
    }

    /// The files that a file includes, as far as they can be found.
    fn targets(&self, root: &Root) -> Vec<PathBuf> {
        let lists = root.documents.iter().filter_map(include);
        let items = lists.flat_map(|node| match &node.value {
            Value::List(items) => items.as_slice(),
            _ => &[],
        });
        let names = items.filter_map(|item| match &item.value {
            Value::Text(name) => Some(self.report.beside(item.at, name)),
            _ => None,
        });
        names.map(|path| canonical(&path)).collect()
    }

    /// Puts documents over those that they include. `above` are the files that led here.
    fn resolve(&mut self, documents: Vec<Node>, above: &mut Vec<PathBuf>) -> Vec<Document> {
        let mut below: Vec<Document> = Vec::new();
        let items: Vec<&Node> = documents
            .iter()
            .filter_map(include)
            .flat_map(|node| list(self.report, node, "files"))
            .collect();
        let includes_something = !items.is_empty();
        for item in items {
            for document in self.include(item, above) {
                put_over(&mut below, document);
            }
        }
        for node in documents {
            let parts = vec![node.at];
            let document = Document { node, parts };
            if includes_something {
                put_over(&mut below, document);
            } else {
                below.push(document);
            }
        }
        below
    }

    /// The documents of an included file, with what that includes.
    fn include(&mut self, item: &Node, above: &mut Vec<PathBuf>) -> Vec<Document> {
        let Some(name) = text(self.report, item, "the name of a file") else {
            return Vec::new();
        };
        match self.find(item.at, &name.value, above) {
            Ok(Some((path, text))) => {
                let documents = self.parse(&path, text).unwrap_or_default();
                above.push(canonical(&path));
                let documents = self.resolve(documents, above);
                above.pop();
                documents
            }
            Ok(None) => Vec::new(),
            Err((message, help)) => {
                self.report.error(item.at, message, Some(help.to_owned()));
                Vec::new()
            }
        }
    }

    /// The file of an `include`; `None` if it is there already.
    fn find(
        &mut self,
        at: Span,
        name: &str,
        above: &[PathBuf],
    ) -> Result<Option<(PathBuf, String)>, (String, &'static str)> {
        let relative = "files are named from the folder of the file that includes them, and lie \
                        in the folder of the policy or below";
        if Path::new(name).is_absolute() {
            return Err((format!("`{name}` is not relative"), relative));
        }
        let path = self.report.beside(at, name);
        let found = canonical(&path);
        if !found.starts_with(&self.root) {
            return Err((format!("`{name}` lies outside the policy's folder"), relative));
        }
        if above.contains(&found) {
            let chain: Vec<String> = above
                .iter()
                .skip_while(|file| **file != found)
                .chain([&found])
                .map(|file| file.strip_prefix(&self.root).unwrap_or(file).display().to_string())
                .collect();
            let message = format!("files include each other: {}", chain.join(" → "));
            return Err((message, "take one of these includes out"));
        }
        if above.len() >= DEEPEST {
            let message = format!("files include each other more than {DEEPEST} deep");
            return Err((message, "include the files from fewer places"));
        }
        if self.read.len() >= MOST_FILES {
            let message = format!("more than {MOST_FILES} files are included");
            return Err((message, "policies for one site fit in fewer"));
        }
        if !self.read.insert(found) {
            return Ok(None);
        }
        match files::read(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) => Err((format!("`{name}`: {error}"), error.help())),
        }
    }
}

/// What a Site includes.
fn include(document: &Node) -> Option<&Node> {
    let Value::Map(entries) = &document.value else { return None };
    let is_site = text_of(entries, "kind") == Some("Site");
    entries.iter().find(|(key, _)| is_site && key.name == "include").map(|(_, node)| node)
}

/// Adds a document, over the one that it is about if that is there.
fn put_over(below: &mut Vec<Document>, document: Document) {
    let subject = subject(&document.node);
    let known = subject.and_then(|subject| {
        below.iter_mut().find(|known| self::subject(&known.node) == Some(subject.clone()))
    });
    match known {
        Some(known) => {
            known.node.at = document.node.at;
            put_value_over(&mut known.node.value, document.node.value);
            known.parts.extend(document.parts);
        }
        None => below.push(document),
    }
}

/// What a document is about: the Site, or a Policy by its name.
fn subject(node: &Node) -> Option<(String, Option<String>)> {
    let Value::Map(entries) = &node.value else { return None };
    let kind = text_of(entries, "kind")?;
    let metadata = entries.iter().find(|(key, _)| key.name == "metadata");
    let name = match metadata.map(|(_, node)| &node.value) {
        Some(Value::Map(entries)) => text_of(entries, "name").map(str::to_owned),
        _ => None,
    };
    match kind {
        "Site" => Some((kind.to_owned(), None)),
        _ => name.map(|name| (kind.to_owned(), Some(name))),
    }
}

/// Mappings are joined; everything else is replaced. A field without a value takes one away.
fn put_value_over(below: &mut Value, above: Value) {
    let Value::Map(entries) = below else {
        *below = above;
        return;
    };
    let Value::Map(new) = above else {
        *below = above;
        return;
    };
    // A field that is given twice stays a mistake.
    let known: Vec<String> = entries.iter().map(|(key, _)| key.name.clone()).collect();
    for (key, node) in new {
        let place = known.iter().position(|name| *name == key.name);
        match place.and_then(|place| entries.get_mut(place)) {
            Some((known, value)) => {
                known.at = key.at;
                value.at = node.at;
                put_value_over(&mut value.value, node.value);
            }
            None => entries.push((key, node)),
        }
    }
}

fn text_of<'n>(entries: &'n [(Key, Node)], name: &str) -> Option<&'n str> {
    match entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| &node.value) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// A path without links and steps upwards, as far as it exists.
fn canonical(path: &Path) -> PathBuf {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent != path => canonical(parent).join(name),
        _ => path.to_owned(),
    })
}
