//! Tables and figures in a folder `results`, for a report to find.

use std::path::Path;

use super::figure_files::FIGURES;
use super::support::Dir;

const TABLE: &str = "\
model,method,params_percent,aqua,gsm8k,mawps,svamp,avg,sd,n,origin
LLaMA-7B,LoReFT,0.0309,20.5,25,76,40.5,40.5,0.5,3,ours
LLaMA-7B,LoReFT,0.031,21.4,26,76.2,46.8,42.6,,1,\"ReFT paper, as printed\"
LLaMA-7B,DiReFT,0.0309,20,24,70.25,,,,0,ours
";

const UNPRINTED: &str = "\
model,method,params_percent,boolq,avg,sd,n,origin
tiny,base model,,12.5,12.5,,1,ours
tiny,LoReFT,0.2,-3.25,-3.25,,1,ours
";

/// A loss beside percents: a table over data sets of the user's.
const LOSSES: &str = "\
model,method,params_percent,faq (nll),quiz,avg,sd,n,origin
tiny,base model,,2.0904,40,,,1,ours
tiny,LoReFT,0.2,1.9875,60,,,1,ours
";

/// Tables beside the paper's, figures, and the repository's own folders of what is printed.
pub fn write(dir: &Dir) {
    for (profile, name, text) in
        [("paper", "table2", TABLE), ("quick", "table1", UNPRINTED), ("quick", "table2", LOSSES)]
    {
        let folder = dir.path().join("results").join(profile);
        std::fs::create_dir_all(&folder).expect("writable");
        std::fs::write(folder.join(format!("{name}.csv")), text).expect("writable");
    }
    for (name, text) in FIGURES {
        let path = dir.path().join("results").join(name).with_extension("csv");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        std::fs::write(&path, text).expect("writable");
        std::fs::write(path.with_extension("md"), format!("**{name}, a title**\n\n- made by `reft`\n"))
            .expect("writable");
    }
    let notes = "**Table 2, profile paper**\n\n| a |\n\n- mean over n seeds (1, 2 & 3)\n- made by `reft`\n";
    std::fs::write(dir.path().join("results/paper/table2.md"), notes).expect("writable");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["paper", "configs"] {
        std::os::unix::fs::symlink(repository.join(folder), dir.path().join(folder)).expect("a link");
    }
}
