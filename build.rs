//! Embeds every preset of `presets/`, so that a new vendor is one more file there and not a line
//! of Rust.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=presets");
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where it builds"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write"));
    let mut files = fs::read_dir(root.join("presets"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    let entries: String = files.iter().map(|path| entry(path)).collect();
    fs::write(out.join("presets.rs"), format!("&[\n{entries}]\n"))
}

fn entry(path: &Path) -> String {
    let name = path
        .file_stem()
        .expect("a file has a name")
        .to_string_lossy();
    format!("    ({name:?}, include_str!({path:?})),\n")
}
