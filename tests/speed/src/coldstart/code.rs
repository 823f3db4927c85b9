//! What the functions of an emulator run: our binaries as they are, one of them replaced by a hook in another language, or all under
//! valgrind. A folder of links and small scripts says so.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{Failure, NotPossible};
use super::session::{BEFORE, FUNCTIONS};

/// The application that is deployed.
const DEMO_APP: &str = "demo-app";
const BUILD: &str = "cargo build --workspace --locked --features snapback-aws/extra-roots";
/// A binary without this text does not trust our certificates.
const TRUST: &[u8] = b"SNAPBACK_EXTRA_ROOTS";
const PYTHON_HOOK: &str = include_str!("../../hooks/python/hook.py");
const NODE_HOOK: &str = include_str!("../../hooks/node/hook.mjs");
/// In each folder of code: the root certificates that a hook is told to trust.
pub const ROOTS: &str = "roots.pem";

/// A hook in another language.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// `python` or `node`.
    pub name: &'static str,
    /// Versions of language, SDK and runtime client, for people.
    pub versions: String,
    /// Arguments of the command, after `exec`, in its folder.
    command: String,
    /// File and text of the hook.
    source: (&'static str, &'static str),
    modules: Option<PathBuf>,
    /// Root certificates that a file of others would replace.
    roots: Option<PathBuf>,
}

impl Runtime {
    /// The hook in Python, run by `interpreter`.
    ///
    /// # Errors
    /// [`NotPossible`] when it has no boto3 or no awslambdaric.
    pub fn python(interpreter: &Path) -> Result<Self, Failure> {
        let ask = "import sys, boto3, awslambdaric, importlib.metadata as m; \
                   print('Python', sys.version.split()[0] + ',', 'boto3', boto3.__version__ + ',', 'awslambdaric', m.version('awslambdaric'))";
        let interpreter = absolute(interpreter)?;
        let versions = said(&interpreter, &["-c", ask])?;
        // The bundle that boto3 reads when AWS_CA_BUNDLE does not name another in its place.
        let roots =
            said(&interpreter, &["-c", "import botocore.httpsession as session; print(session.get_cert_path(True))"])?;
        let command = format!("{} -m awslambdaric hook.handler", quoted(&interpreter));
        let source = ("hook.py", PYTHON_HOOK);
        Ok(Self { name: "python", versions, command, source, modules: None, roots: Some(absolute(Path::new(&roots))?) })
    }

    /// The hook in JavaScript, with the modules in `folder`/node_modules.
    ///
    /// # Errors
    /// [`NotPossible`] when there is no Node.js or no SDK.
    pub fn node(folder: &Path) -> Result<Self, Failure> {
        let modules = absolute(&folder.join("node_modules"))?;
        let sdk = modules.join("@aws-sdk/client-codedeploy/package.json");
        let ask = "console.log('Node.js ' + process.versions.node + ', AWS SDK ' + require(process.argv[1]).version)";
        let versions = said(Path::new("node"), &["-e", ask, &sdk.display().to_string()])?;
        let program = said(Path::new("node"), &["-p", "process.execPath"])?;
        let command = format!("{} hook.mjs", quoted(Path::new(&program)));
        // NODE_EXTRA_CA_CERTS adds to the roots that Node.js is built with.
        let source = ("hook.mjs", NODE_HOOK);
        Ok(Self { name: "node", versions, command, source, modules: Some(modules), roots: None })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    // Not `canonicalize`: the interpreter of a virtual environment is a link, and must be called by that.
    let path = std::path::absolute(path)?;
    if path.exists() { Ok(path) } else { Err(NotPossible(format!("{} is not there", path.display())).into()) }
}

/// What a program prints.
fn said(program: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let name = program.display();
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| NotPossible(format!("{name} does not run: {error}")))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned();
        return Err(NotPossible(format!("{name} cannot run the hook: {error}")).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Looks whether the binaries of `functions` are in `folder` and trust our certificates.
///
/// # Errors
/// Names the first one and how to build it.
pub fn check(folder: &Path, functions: &[&str]) -> Result<(), Failure> {
    for name in functions {
        let path = folder.join(name);
        let bytes = std::fs::read(&path)
            .map_err(|error| format!("the function {}: {error}; build it with: {BUILD}", path.display()))?;
        if !bytes.windows(TRUST.len()).any(|window| window == TRUST) {
            let path = path.display();
            return Err(format!("{path} does not trust the servers of a benchmark; build it with: {BUILD}").into());
        }
    }
    Ok(())
}

/// The application that is deployed: in the folder of the functions, or beside this program.
fn demo_app(functions: &Path) -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let places = [Some(functions), own.parent()].into_iter().flatten().map(|folder| folder.join(DEMO_APP));
    let found = places.into_iter().find(|path| path.is_file());
    let found =
        found.ok_or_else(|| format!("{} is missing; build it with: {BUILD}", functions.join(DEMO_APP).display()))?;
    Ok(std::path::absolute(found)?)
}

/// Makes folders of code in `folder`.
pub struct Code<'a> {
    /// Where the binaries are.
    pub functions: &'a Path,
    /// Where the folders are made; gone at the end of the run.
    pub temporary: &'a Path,
    /// PEM file of the benchmark's root certificate.
    pub root: &'a Path,
}

impl Code<'_> {
    /// Our binaries as they are.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn plain(&self) -> Result<PathBuf, Failure> {
        self.links("plain", None)
    }

    /// With the hook of `runtime` in place of ours.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn replaced(&self, runtime: &Runtime) -> Result<PathBuf, Failure> {
        let folder = self.links(runtime.name, runtime.roots.as_deref())?;
        let (file, text) = runtime.source;
        std::fs::write(folder.join(file), text)?;
        if let Some(modules) = &runtime.modules {
            symlink(modules, folder.join("node_modules"))?;
        }
        script(&folder.join(BEFORE), &runtime.command)?;
        Ok(folder)
    }

    /// All functions under callgrind; what it counts is in `NUMBER.callgrind` in the folder, by process id.
    ///
    /// # Errors
    /// [`NotPossible`] without valgrind; when the folder cannot be written.
    pub fn under_valgrind(&self) -> Result<PathBuf, Failure> {
        said(Path::new("valgrind"), &["--version"])?;
        let folder = self.links("valgrind", None)?;
        for (name, _) in FUNCTIONS {
            let command = format!(
                "valgrind --quiet --tool=callgrind --callgrind-out-file=%p.callgrind {}",
                quoted(&std::path::absolute(self.functions.join(name))?)
            );
            script(&folder.join(name), &command)?;
        }
        Ok(folder)
    }

    /// One of the folders above, by `plain`, `valgrind` or the name of a runtime.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.temporary.join(name)
    }

    /// `roots`: PEM file of roots that are trusted beside the benchmark's.
    fn links(&self, name: &str, roots: Option<&Path>) -> Result<PathBuf, Failure> {
        let folder = self.folder(name);
        std::fs::create_dir(&folder)?;
        let mut trusted = roots.map(std::fs::read).transpose()?.unwrap_or_default();
        trusted.extend(std::fs::read(self.root)?);
        std::fs::write(folder.join(ROOTS), trusted)?;
        symlink(demo_app(self.functions)?, folder.join(DEMO_APP))?;
        for (name, _) in FUNCTIONS {
            symlink(std::path::absolute(self.functions.join(name))?, folder.join(name))?;
        }
        Ok(folder)
    }
}

/// Replaces `path` by a script that becomes `command`.
fn script(path: &Path, command: &str) -> Result<(), Failure> {
    std::fs::remove_file(path)?;
    std::fs::write(path, format!("#!/bin/sh\nexec {command}\n"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}
