//! The page around the sections. Everything is in it, and it asks for nothing: no scripts, no fonts, no pictures.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Section;
use super::draw::ink;

/// Type, tables and paper; colours of charts come from [`ink`].
const STYLE: &str = include_str!("page.css");

/// The page's title, by which it is known again.
pub const TITLE: &str = "Report on ReFT runs";

/// The whole page.
pub fn html(sections: &[Section]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // A browser then fetches nothing and runs nothing, whatever a configuration has in it.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (TITLE) }
                style { (PreEscaped(STYLE)) (PreEscaped(ink::on_screen())) }
            }
            body {
                header {
                    h1 { (TITLE) }
                    nav aria-label="Sections" {
                        @for section in sections { a href=(format!("#{}", section.id)) { (section.title) } " " }
                    }
                }
                main { @for section in sections {
                    section id=(section.id) {
                        h2 { a href=(format!("#{}", section.id)) { (section.title) } }
                        (section.body)
                    }
                } }
                footer { p {
                    "Made by " code { "reft report" }
                    " from the runs' own files; every chart's numbers are in the CSV beside it."
                } }
            }
        }
    }
}
