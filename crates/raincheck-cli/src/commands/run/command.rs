//! What is run for an input: the words of a command, or a line for a shell.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::shell::{Script, quote};
use super::template::{Syntax, Values, Word};
use crate::error::Error;

/// A command with places for inputs.
pub(super) struct Plan {
    line: Line,
    /// Where the program is, if it is the same for every input.
    program: Option<PathBuf>,
    folder: Option<Word>,
    environment: Vec<(OsString, Word)>,
}

enum Line {
    /// A program and its arguments: no shell sees them.
    Words { words: Vec<Word>, around_each: bool },
    /// A line for this shell.
    Script { shell: OsString, script: Script },
}

/// How the command was given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) words: Vec<OsString>,
    pub(super) shell: Option<OsString>,
    /// Whether inputs go where the command says; if not, a command that names no input gets them at its end.
    pub(super) takes_inputs: bool,
    /// Whether what is around `{}` is repeated for each of several inputs.
    pub(super) around_each: bool,
    pub(super) folder: Option<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
}

/// The default shell.
pub(super) const SHELL: &str = "sh";

impl Plan {
    /// Puts it together.
    ///
    /// # Errors
    ///
    /// A usage error, if there is no such program or folder.
    pub(super) fn new(given: Given, syntax: &Syntax) -> Result<Self, Error> {
        let parse = |text: &OsString| syntax.parse(text.as_bytes());
        let folder = given.folder.as_ref().map(parse);
        let fixed_folder = folder.as_ref().filter(|folder| folder.is_fixed()).and(given.folder.as_ref());
        if let Some(folder) = fixed_folder.filter(|folder| !Path::new(folder).is_dir()) {
            return Err(Error::usage(format!("there is no folder `{}` to work in", folder.display())));
        }
        let mut words: Vec<Word> = given.words.iter().map(parse).collect();
        // Without a command, the inputs are commands.
        let shell = given.shell.or_else(|| words.is_empty().then(|| SHELL.into()));
        if given.takes_inputs && !words.iter().any(Word::takes_input) {
            words.push(Syntax::default().parse(b"{}"));
        }
        if let (None, [line]) = (&shell, &given.words[..])
            && !words[0].is_fixed()
            && line.as_bytes().contains(&b' ')
            && !line.as_bytes().starts_with(b"/")
        {
            let error = Error::usage(format!("`{}` is one word, and so would be a program", line.display()));
            return Err(error.hint("`--shell` runs it as a line of a shell; without it, leave the quotes out"));
        }
        let program = match &shell {
            Some(shell) => Some(find(shell, None)?),
            None if words[0].is_fixed() => Some(find(&given.words[0], fixed_folder.map(Path::new))?),
            None => None,
        };
        let line = match shell {
            Some(shell) => {
                let is_bare = given.words.is_empty();
                Line::Script { shell, script: if is_bare { Script::raw(words) } else { Script::new(join(words)) } }
            }
            None => Line::Words { words, around_each: given.around_each },
        };
        let environment = given.environment.iter().map(|(name, value)| (name.clone(), parse(value))).collect();
        Ok(Self { line, program, folder, environment })
    }

    /// The command for these values.
    ///
    /// # Errors
    ///
    /// Why it cannot be run at all.
    pub(super) fn prepare(&self, values: Values<'_>) -> Result<Command, String> {
        let argv = self.argv(values);
        if argv.iter().any(|word| word.contains(&0)) {
            return Err(
                "there is a NUL byte in it, which no command can be given; `-0` reads inputs that end with one".into(),
            );
        }
        let mut words = argv.into_iter().map(OsString::from_vec);
        let name = words.next().unwrap_or_default();
        let mut command = match &self.program {
            Some(program) => {
                let mut command = Command::new(program);
                command.arg0(name);
                command
            }
            None => Command::new(name),
        };
        command.args(words);
        if let Some(folder) = &self.folder {
            command.current_dir(OsString::from_vec(folder.fill(values)));
        }
        for (name, value) in &self.environment {
            command.env(name, OsString::from_vec(value.fill(values)));
        }
        Ok(command)
    }

    /// The command as one would type it.
    pub(super) fn shown(&self, values: Values<'_>) -> Vec<u8> {
        match &self.line {
            Line::Words { .. } => {
                let quoted: Vec<_> = self.argv(values).iter().map(|word| quote(word)).collect();
                quoted.join(&b' ')
            }
            Line::Script { script, .. } => script.literal(values),
        }
    }

    fn argv(&self, values: Values<'_>) -> Vec<Vec<u8>> {
        match &self.line {
            Line::Words { words, around_each } => {
                words.iter().flat_map(|word| word.fill_words(values, *around_each)).collect()
            }
            Line::Script { shell, script } => {
                let bound = script.bind(values);
                let mut argv = vec![shell.as_bytes().to_vec(), b"-c".to_vec(), bound.text];
                if !bound.parameters.is_empty() {
                    argv.push(shell.as_bytes().to_vec());
                    argv.extend(bound.parameters);
                }
                argv
            }
        }
    }
}

/// The words with spaces between them, as a shell is given them.
fn join(words: Vec<Word>) -> Word {
    let space = || super::template::Piece::Text(b" ".to_vec());
    let mut pieces = Vec::new();
    for (place, word) in words.into_iter().enumerate() {
        if place > 0 {
            pieces.push(space());
        }
        pieces.extend(word.0);
    }
    Word(pieces)
}

/// Where a program is.
///
/// # Errors
///
/// A usage error, if there is none of this name.
fn find(name: &OsStr, folder: Option<&Path>) -> Result<PathBuf, Error> {
    let runs = |path: &Path| {
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    let shown = name.display();
    if name.as_bytes().contains(&b'/') {
        let seen = folder.map_or(PathBuf::from(name), |folder| folder.join(name));
        return match fs::metadata(&seen) {
            _ if runs(&seen) => Ok(name.into()),
            Ok(_) => Err(Error::usage(format!("`{shown}` cannot be run")).hint("is it a program, and executable?")),
            Err(error) => Err(Error::usage(format!("there is no program `{shown}`")).because(error)),
        };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    // An empty place is the current folder, and so may be a relative one.
    let mut places = env::split_paths(&path).map(|place| Path::new(".").join(place).join(name));
    places.find(|path| runs(path)).ok_or_else(|| {
        let error = Error::usage(format!("there is no program `{shown}`"));
        match shown.to_string().contains([' ', '|', '>', ';', '&', '$']) {
            true => error.hint("`--shell` runs it as a line of a shell"),
            false => error.hint("is it spelt right, and in a folder of PATH?"),
        }
    })
}
