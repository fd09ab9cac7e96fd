//! Chromium without a window: what a page looks like at some width.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Chromium.
pub struct Browser(PathBuf);

/// The browser that `CHROMIUM` names, or the first in PATH.
pub fn find() -> Option<Browser> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(Browser(named.into()));
    }
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let paths: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let all = names.iter().flat_map(|name| paths.iter().map(move |path| path.join(name)));
    all.into_iter().find(|path| path.exists()).map(Browser)
}

/// What a page may do here: nothing but look as it does and measure itself. What it tries beyond that is told.
const POLICY: &str = r#"<meta http-equiv="Content-Security-Policy"
content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">"#;

/// Measures the page it stands in: its width, text in charts that meets other text or leaves its chart, and what it asked
/// for.
const MEASURE: &str = r#"<script>const requests = [];
addEventListener("securitypolicyviolation", event => requests.push(event.blockedURI));
// What is refused is told a little later than the page is loaded.
addEventListener("load", () => setTimeout(() => {
const root = document.documentElement, shown = element => element.getClientRects().length > 0;
const boxes = [], outside = [], overlaps = [], svgs = [...document.querySelectorAll("figure svg")].filter(shown);
for (const svg of svgs) {
  const frame = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")];
  const own = texts.map(text => [text.textContent, text.getBoundingClientRect()]).filter(([text]) => text.trim());
  for (const [text, box] of own)
    if (Math.max(frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom) > 1)
      outside.push(text);
  own.forEach(([text, a], index) => own.slice(index + 1).forEach(([other, b]) => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    if (across > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3)
      overlaps.push(text + " / " + other);
  }));
  boxes.push(...own);
}
const over = element => !element.closest(".scroll") && element.getBoundingClientRect().right > innerWidth + 0.5;
const wide = [...document.body.querySelectorAll("*")].filter(over);
parent.postMessage(JSON.stringify({
  width: innerWidth, scroll: root.scrollWidth, overlaps, outside, texts: boxes.length, shown: svgs.length,
  figures: document.querySelectorAll("figure").length, wide: wide.slice(0, 5).map(e => e.outerHTML.slice(0, 80)),
  requests,
}), "*");
}, 500));</script>"#;

/// Shows a page in a frame of some width, as windows cannot be as narrow as a phone, and keeps what it says of itself.
const FRAME: &str = r#"<!doctype html><body><script>addEventListener("message", event => {
const said = document.createElement("pre"); said.id = "said"; said.textContent = event.data; document.body.append(said);
});</script><iframe src="page.html" style="border:0;height:3000px;width:WIDTHpx"></iframe></body>"#;

impl Browser {
    /// What the page says of itself at a width in pixels.
    pub fn look(&self, html: &str, width: i64) -> Value {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("writable");
            path
        };
        // The page's own policy would forbid to measure it.
        let open = html.replace("http-equiv=\"Content-Security-Policy\"", "name=\"its-own-policy\"");
        write("page.html", &open.replace("<head>", &format!("<head>{POLICY}{MEASURE}")));
        let frame = write("frame.html", &FRAME.replace("WIDTH", &width.to_string()));
        let dom = self.dom(&frame, folder.path());
        let said = dom.split_once("<pre id=\"said\">").and_then(|(_, rest)| rest.split_once("</pre>"));
        let said = said.unwrap_or_else(|| panic!("the page said nothing: {dom}")).0;
        let text = said.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn dom(&self, page: &Path, folder: &Path) -> String {
        let profile = format!("--user-data-dir={}", folder.join("profile").display());
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1400,3000",
            "--virtual-time-budget=8000",
        ];
        let output = Command::new(&self.0)
            .args(flags)
            .args([&profile, "--dump-dom", &format!("file://{}", page.display())])
            .output()
            .expect("the browser starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
