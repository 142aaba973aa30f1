//! CSV files as a source: at an https address, in the folder of the operator, or uploaded.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use tokio::task::spawn_blocking;

use super::columns::{Matched, Meaning, match_columns};
use super::format::{Encoding, Form, Rows, Separator, Wanted, detect};
use super::people::Reader;
use super::remote::{self, Network, Remote, Validators};
use super::source::{Fetched, People, Source, Stop};
use crate::directory::ids::hex;
use crate::directory::source::Place;
use crate::directory::{InstanceId, LastPull, SourceSettings};
use crate::keys::vault::Secret;
use crate::provision::Provision;
use crate::provision::pull::Line;
use crate::scim::schemas::Schemas;

/// The bytes that are copied at once.
const COPY_BYTES: usize = 64 * 1024;

/// A CSV file of a connection.
#[derive(Debug, Clone)]
pub struct CsvSource {
    /// The instance.
    pub instance: InstanceId,
    /// Where the file is, and how it is read.
    pub settings: SourceSettings,
    /// Which revision of the settings that is.
    pub revision: i64,
    /// The password for the address.
    pub password: Option<Secret>,
    /// What the last complete run found.
    pub last: Option<LastPull>,
    /// The schemas of the instance.
    pub schemas: Arc<Schemas>,
    /// Where fetches may go.
    pub network: Network,
    /// The folder of files, if the operator has set one aside.
    pub files_dir: Option<PathBuf>,
    /// The uploaded documents.
    pub provision: Provision,
}

/// A file on this machine, and what was found out about it.
#[derive(Debug)]
pub struct CsvFile {
    file: File,
    bytes: i64,
    validators: Validators,
    checksum: String,
    form: Form,
    ends_a_line: bool,
    header: Vec<String>,
    columns: Vec<Matched>,
    settings: SourceSettings,
    revision: i64,
    schemas: Arc<Schemas>,
}

/// A file that was fetched, before anybody has looked into it.
#[derive(Debug)]
pub struct Spool {
    file: File,
    bytes: i64,
    checksum: String,
    validators: Validators,
    content_type: Option<String>,
}

impl CsvSource {
    /// The address of the file, if it is at one.
    pub fn remote(&self) -> Result<Option<Remote>, Stop> {
        let Place::Remote { url, user } = &self.settings.place else { return Ok(None) };
        let password = self.password.clone();
        Remote::parse(url, user.clone(), password).map(Some).map_err(Stop::because)
    }

    /// Fetches the file as it is; nothing if the server says that it is the one of `validators`.
    pub async fn spool(&self, validators: &Validators) -> Result<Option<Spool>, Stop> {
        let empty = || tempfile::tempfile().map_err(no_space);
        match &self.settings.place {
            Place::Remote { .. } => self.download(validators, empty()?).await,
            Place::Folder { path } => {
                let file = self.in_folder(path)?;
                let (limit, into) = (self.network.limits.bytes_max, empty()?);
                let copied = spawn_blocking(move || copy(file, into, limit)).await;
                copied.map_err(Stop::because)?.map(Some)
            }
            Place::Document { name } => self.unpack(name, empty()?).await.map(Some),
        }
    }

    async fn download(&self, validators: &Validators, into: File) -> Result<Option<Spool>, Stop> {
        let Some(remote) = self.remote()? else { return Ok(None) };
        let mut into = tokio::fs::File::from_std(into);
        let fetched = remote.fetch(&self.network, validators, &mut into, |_| ()).await;
        match fetched.map_err(Stop::because)? {
            remote::Fetched::Unchanged => Ok(None),
            remote::Fetched::File { bytes, sha256, content_type, validators } => Ok(Some(Spool {
                file: into.into_std().await,
                bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
                checksum: sha256,
                validators,
                content_type,
            })),
        }
    }

    /// A file of the instance's own folder below the folder of files.
    fn in_folder(&self, path: &str) -> Result<File, Stop> {
        let Some(root) = &self.files_dir else {
            return Err(Stop::because(
                "the operator has set no folder for files aside: set files_dir, or take an address or \
                 a document",
            ));
        };
        let folder = root.join(self.instance.to_string());
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let wanted = folder.join(path);
        let refuse = |reason: &str| Err(Stop::because(format!("the file {path}: {reason}")));
        if !inside || path.is_empty() {
            return refuse("must be a path within the folder, without \"..\"");
        }
        // A link must not lead out of the folder either.
        let found = wanted.canonicalize().ok().zip(folder.canonicalize().ok());
        match found {
            Some((file, folder)) if file.starts_with(&folder) && file.is_file() => {
                match File::open(&file) {
                    Ok(file) => Ok(file),
                    Err(error) => refuse(&format!("cannot be read ({})", error.kind())),
                }
            }
            Some(_) => refuse("is no file of this folder"),
            None => {
                refuse(&format!("there is none of this name in the folder {}", folder.display()))
            }
        }
    }

    async fn unpack(&self, name: &str, mut into: File) -> Result<Spool, Stop> {
        let unavailable = |error: crate::provision::Error| Stop::because(error);
        let found = self.provision.document(self.instance, name).await.map_err(unavailable)?;
        let Some(document) = found else {
            return Err(Stop::because(format!(
                "there is no document \"{name}\" yet: upload it with `csv upload`"
            )));
        };
        let (mut context, mut position) = (Context::new(&SHA256), 0);
        while let Some(part) = self
            .provision
            .document_part(self.instance, &document, position)
            .await
            .map_err(unavailable)?
        {
            context.update(&part);
            into.write_all(&part).map_err(no_space)?;
            position += 1;
        }
        if hex(context.finish().as_ref()) != document.checksum {
            return Err(Stop::because(format!(
                "a newer version of the document \"{name}\" took the place of the one that was being \
                 read: the next run reads it"
            )));
        }
        Ok(Spool {
            file: into,
            bytes: document.bytes,
            checksum: document.checksum,
            validators: Validators::default(),
            content_type: None,
        })
    }

    /// Looks into a file: its form, its header and the meaning of its columns.
    pub async fn open(&self, spool: Spool) -> Result<CsvFile, Stop> {
        let wanted = wanted(&self.settings)?;
        let opened = spawn_blocking(move || {
            let mut spool = spool;
            let form = detect(&mut spool.file, wanted).map_err(|error| {
                let html = spool.content_type.as_deref().is_some_and(|kind| kind.contains("html"));
                let page =
                    if html { " (the server itself says that it is a web page)" } else { "" };
                Stop::because(format!("{error}{page}"))
            })?;
            let rows = Rows::open(&mut spool.file, &form).map_err(Stop::because)?;
            let header = rows.header().to_vec();
            let ends_a_line = ends_a_line(&mut spool.file).map_err(Stop::because)?;
            Ok::<_, Stop>((spool, form, header, ends_a_line))
        });
        let (spool, form, header, ends_a_line) = opened.await.map_err(Stop::because)??;
        let columns =
            match_columns(&self.settings, &self.schemas, &header).map_err(Stop::because)?;
        Ok(CsvFile {
            file: spool.file,
            bytes: spool.bytes,
            validators: spool.validators,
            checksum: spool.checksum,
            form,
            ends_a_line,
            header,
            columns,
            settings: self.settings.clone(),
            revision: self.revision,
            schemas: self.schemas.clone(),
        })
    }

    /// Refuses a file of another shape than the one of the last complete run: nobody said that it may
    /// have changed.
    fn compare(&self, file: &CsvFile) -> Result<(), Stop> {
        let Some(last) = &self.last else { return Ok(()) };
        let (encoding, separator) = (file.form.encoding.word(), file.form.separator.word());
        if file.form.guessed.encoding && last.encoding != encoding {
            return Err(Stop::because(format!(
                "the file seems to be {encoding}, and was {} before: export it as before, or say that \
                 it is so with `csv set --encoding {encoding}`",
                last.encoding
            )));
        }
        if file.form.guessed.separator && last.separator != separator {
            return Err(Stop::because(format!(
                "the fields of the file seem to be separated by a {separator}, and were by a {} \
                 before: export it as before, or say that it is so with `csv set --separator \
                 {separator}`",
                last.separator
            )));
        }
        if last.ends_a_line && !file.ends_a_line {
            return Err(Stop::because(
                "the last row of the file does not end with a line break, as it did before: was the \
                 download or the export cut short? Export it again",
            ));
        }
        let meant = |columns: &[Matched]| -> Vec<Meaning> {
            columns.iter().filter_map(|column| column.meaning.clone()).collect()
        };
        let before = match_columns(&self.settings, &self.schemas, &last.header);
        let (before, now) = (before.map(|before| meant(&before)), meant(&file.columns));
        let gone = before.ok().into_iter().flatten().find(|meaning| !now.contains(meaning));
        match gone {
            None => Ok(()),
            Some(meaning) => Err(Stop::because(format!(
                "the header has changed: no column means {} any more, and one did before; mend the \
                 file, or name the column with `csv set --column`",
                meaning.text()
            ))),
        }
    }
}

impl Source for CsvSource {
    type People = CsvFile;

    async fn fetch(&self, last: Option<&LastPull>) -> Result<Fetched<CsvFile>, Stop> {
        let validators = last.map(|last| Validators {
            etag: last.etag.clone(),
            last_modified: last.last_modified.clone(),
        });
        let Some(spool) = self.spool(&validators.unwrap_or_default()).await? else {
            return Ok(Fetched::Unchanged);
        };
        let file = self.open(spool).await?;
        self.compare(&file)?;
        Ok(Fetched::People(file))
    }
}

impl CsvFile {
    /// The form in which it is read.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Its columns and what they mean.
    #[must_use]
    pub fn columns(&self) -> &[Matched] {
        &self.columns
    }

    fn rows(&self) -> Result<Rows<File>, Stop> {
        let file = self.file.try_clone().map_err(Stop::because)?;
        Rows::open(file, &self.form).map_err(Stop::because)
    }

    /// The cells of the first rows.
    pub fn sample(&self, rows: usize) -> Result<Vec<Vec<String>>, Stop> {
        let mut found = Vec::new();
        for row in self.rows()?.take(rows) {
            if let super::format::Entry::Row(row) = row.map_err(Stop::because)? {
                found.push(row.cells.iter().map(str::to_owned).collect());
            }
        }
        Ok(found)
    }
}

impl People for CsvFile {
    fn seen(&self) -> LastPull {
        LastPull {
            etag: self.validators.etag.clone(),
            last_modified: self.validators.last_modified.clone(),
            checksum: self.checksum.clone(),
            revision: self.revision,
            header: self.header.clone(),
            encoding: self.form.encoding.word().to_owned(),
            separator: self.form.separator.word().to_owned(),
            ends_a_line: self.ends_a_line,
            is_settled: false,
        }
    }

    fn notes(&self) -> Vec<String> {
        let Form { encoding, separator, guessed, .. } = self.form;
        let guess = |guessed: bool| if guessed { " (guessed)" } else { "" };
        let mut notes = vec![format!(
            "{encoding}{}, fields separated by a {separator}{}",
            guess(guessed.encoding),
            guess(guessed.separator)
        )];
        let unmatched = self.columns.iter().filter(|column| column.meaning.is_none());
        let names: Vec<String> = unmatched.map(|column| format!("\"{}\"", column.name)).collect();
        if !names.is_empty() {
            notes.push(format!("nothing is made of the columns {}", names.join(", ")));
        }
        notes
    }

    fn bytes(&self) -> i64 {
        self.bytes
    }

    fn read(&self, each: &mut dyn FnMut(Line) -> bool) -> Result<(), Stop> {
        let reader = Reader::new(&self.settings, &self.schemas, &self.columns)
            .map_err(|error| Stop::because(error.detail))?;
        for row in self.rows()? {
            if !each(reader.line(row.map_err(Stop::because)?)) {
                break;
            }
        }
        Ok(())
    }
}

/// What of the form an administrator has fixed.
pub fn wanted(settings: &SourceSettings) -> Result<Wanted, Stop> {
    let encoding = settings.encoding.as_deref().map(|word| {
        Encoding::from_word(word)
            .ok_or_else(|| Stop::because(format!("{word} is no encoding of CSV files")))
    });
    let separator = settings.separator.as_deref().map(|word| {
        Separator::from_word(word)
            .ok_or_else(|| Stop::because(format!("{word} is no separator of CSV files")))
    });
    Ok(Wanted { encoding: encoding.transpose()?, separator: separator.transpose()? })
}

/// Whether a file ends with the end of a line, in any encoding.
fn ends_a_line(file: &mut File) -> io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(2)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    Ok(end.iter().any(|byte| matches!(byte, b'\n' | b'\r')))
}

fn copy(mut from: File, mut into: File, limit: u64) -> Result<Spool, Stop> {
    let before = from.metadata().map_err(Stop::because)?;
    let (mut context, mut bytes) = (Context::new(&SHA256), 0);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Stop::because(format!("the file cannot be read: {error}")));
            }
        };
        let part = buffer.get(..read).unwrap_or_default();
        bytes += read as u64;
        if bytes > limit {
            return Err(Stop::because(format!("the file is larger than {limit} bytes: split it")));
        }
        context.update(part);
        into.write_all(part).map_err(no_space)?;
    }
    let after = from.metadata().map_err(Stop::because)?;
    let is_same = before.modified().ok() == after.modified().ok() && after.len() == bytes;
    if !is_same {
        return Err(Stop::because(
            "the file was being written while it was read: write it under another name and rename it \
             when it is complete",
        ));
    }
    into.seek(SeekFrom::Start(0)).map_err(no_space)?;
    Ok(Spool {
        file: into,
        bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        checksum: hex(context.finish().as_ref()),
        validators: Validators::default(),
        content_type: None,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped with it")]
fn no_space(error: io::Error) -> Stop {
    Stop::because(format!(
        "the file cannot be kept on this machine while it is read ({error}): look at the space in the \
         folder for temporary files"
    ))
}
