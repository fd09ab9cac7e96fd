//! `reft report`: one page about runs, sweeps, tables and figures, with a CSV, SVG and PNG beside it for every chart.
//!
//! A section is a file. It turns what was read into [`Figure`]s and tables; [`page`] puts sections together. The page is a
//! function of what it is made of: the same runs give the same bytes. Nothing that is missing is an error; it is said.

pub mod data;
pub mod dev;
pub mod draw;
pub mod figure;
pub mod figures;
pub mod gather;
pub mod importance;
pub mod link;
pub mod page;
pub mod parallel;
pub mod runs;
pub mod summary;
pub mod sweep;
pub mod tables;
pub mod traces;
pub mod training;
pub mod trial;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use maud::Markup;

use figure::{Figure, PageFile};
use link::Links;

use crate::sweep::manifest::Manifest;

/// What a report is made of.
#[derive(Clone, Debug)]
pub struct ReportSources {
    /// Folder of all runs.
    pub runs: PathBuf,
    /// Sweeps' files or folders; those below the runs if empty.
    pub sweeps: Vec<PathBuf>,
    /// Folder of tables, a folder for each profile.
    pub results: PathBuf,
    /// Folder of the tables' files, which say where printed figures are.
    pub tables: PathBuf,
    /// Where the page is to be.
    pub out: PathBuf,
}

/// A part of the page.
pub struct Section {
    /// Its anchor.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// What it says, its charts among it.
    pub body: Markup,
    /// Its charts.
    pub figures: Vec<Figure>,
    /// Further files beside the page.
    pub files: Vec<PageFile>,
}

/// A page with the files beside it.
pub struct Report {
    /// By name; the page is the last, so that what it links to is there before it.
    pub files: Vec<PageFile>,
    /// What could not be read, in a line each.
    pub complaints: Vec<String>,
}

/// Reads everything and makes the page.
///
/// # Errors
/// When a sweep that was named does not exist, there is nothing to report, or a chart cannot be drawn.
pub fn report(sources: &ReportSources) -> Result<Report> {
    let links = Links::from(&sources.out).context("the working folder is not known")?;
    let (runs, mut complaints) = gather::gather(&sources.runs);
    let sweeps = sweeps(sources)?;
    let (tables, drawn) = (tables::find(&sources.results), figures::find(&sources.results));
    if runs.is_empty() && sweeps.is_empty() && tables.is_empty() && drawn.is_empty() {
        bail!(
            "nothing to report: no run or sweep in {}, no table or figure in {}: begin with `reft train`, or name --runs",
            sources.runs.display(),
            sources.results.display()
        );
    }
    let mut sections = vec![summary::section(&runs, &complaints, sources)];
    for path in &sweeps {
        sections.push(sweep::section(path, &sources.runs, &links, &mut complaints));
    }
    if sweeps.is_empty() {
        sections.push(sweep::none(&sources.runs));
    }
    sections.push(tables::section(&tables, sources, &links, &mut complaints));
    sections.push(figures::section(&drawn, &links));
    sections.push(training::section(&runs));
    sections.push(runs::section(&runs, &links));
    let mut files = Vec::new();
    for section in &mut sections {
        for figure in &section.figures {
            files.extend(figure.files()?);
        }
        files.append(&mut section.files);
    }
    files.push(("index.html".to_owned(), page::html(&sections).into_string().into_bytes()));
    Ok(Report { files, complaints })
}

/// The sweeps that were named, or all below the runs, by name.
fn sweeps(sources: &ReportSources) -> Result<Vec<PathBuf>> {
    if let Some(missing) = sources.sweeps.iter().find(|path| !path.exists()) {
        bail!(
            "{}: no such sweep: name its file, or its folder below {}/sweeps",
            missing.display(),
            sources.runs.display()
        );
    }
    if !sources.sweeps.is_empty() {
        return Ok(sources.sweeps.clone());
    }
    let folders = listed(&sources.runs.join("sweeps"));
    // The runs of a figure are told of as such.
    let listed =
        |path: &Path| Manifest::read(path).is_ok_and(|manifest| manifest.sweep["method"].get("listed").is_some());
    let is_sweep = |folder: &PathBuf| {
        let manifest = folder.join("manifest.json");
        manifest.exists() && !listed(&manifest)
    };
    Ok(folders.into_iter().filter(is_sweep).collect())
}

/// What is in a folder, by name; nothing where there is none.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

impl Report {
    /// Writes every file, complete or not at all.
    ///
    /// # Errors
    /// When a page that is no report stands there, or the file system refuses.
    pub fn write(&self, out: &Path) -> Result<()> {
        let page = out.join("index.html");
        if std::fs::read_to_string(&page).is_ok_and(|there| !there.contains(page::TITLE)) {
            bail!("{}: a page that is no report of runs: name another folder for the report", page.display());
        }
        for (name, bytes) in &self.files {
            let path = out.join(name);
            crate::atomic::write(&path, bytes).with_context(|| format!("{}: cannot be written", path.display()))?;
        }
        Ok(())
    }
}
