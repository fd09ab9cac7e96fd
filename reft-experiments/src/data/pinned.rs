//! Files of public repositories: each at one commit, with a checksum, so that every machine reads the same rows.

use sha1::{Digest, Sha1};
use sha2::Sha256;

/// A public repository at one commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repository {
    /// Owner and name on GitHub.
    pub name: &'static str,
    /// The commit.
    pub revision: &'static str,
}

/// What a file's bytes are known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// SHA-256 of the bytes.
    Sha256(&'static str),
    /// The name of the git blob (SHA-1 of a header and the bytes), as the commit's tree has it: for files whose bytes were
    /// not at hand when the list was made.
    GitBlob(&'static str),
}

/// A published file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PinnedFile {
    /// Its name in a data folder.
    pub file: &'static str,
    /// Where it is published.
    pub repository: Repository,
    /// Its path there.
    pub path: &'static str,
    /// What its bytes are known by.
    pub checksum: Checksum,
}

/// The files that the paper trained and tested on.
const LLM_ADAPTERS: Repository =
    Repository { name: "AGI-Edgerunners/LLM-Adapters", revision: "816657208af4db747803f87ba40a4c71383fed7a" };
const GRADE_SCHOOL_MATH: Repository =
    Repository { name: "openai/grade-school-math", revision: "3101c7d5072418e28b9008a6636bde82a006892c" };
const ALPACA_EVAL: Repository =
    Repository { name: "tatsu-lab/alpaca_eval", revision: "cd543a149df89434d8a54582c0151c0b945c3d20" };
const SDFT: Repository = Repository { name: "sail-sg/sdft", revision: "bfb6c255fccdce7459235c20f19a3b9817a9cd5d" };
const PYREFT: Repository =
    Repository { name: "stanfordnlp/pyreft", revision: "dafd0995a366d7b47160a337dcc388eda7431821" };

const fn sha256(repository: Repository, file: &'static str, path: &'static str, sum: &'static str) -> PinnedFile {
    PinnedFile { file, repository, path, checksum: Checksum::Sha256(sum) }
}

const fn blob(repository: Repository, file: &'static str, path: &'static str, sum: &'static str) -> PinnedFile {
    PinnedFile { file, repository, path, checksum: Checksum::GitBlob(sum) }
}

/// Every file that can be downloaded.
pub static FILES: [PinnedFile; 28] = [
    sha256(
        LLM_ADAPTERS,
        "dataset/boolq/train.json",
        "dataset/boolq/train.json",
        "5ccbaceebaddc69765e1c4a363632196b81851d303696672165ab59ec4e48c83",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/boolq/test.json",
        "dataset/boolq/test.json",
        "89df2397cbca81dc31adcc6f7f5b635821aa0565aafde46725b2b4bd39b4dfa9",
    ),
    blob(
        LLM_ADAPTERS,
        "dataset/piqa/train.json",
        "dataset/piqa/train.json",
        "44326ba946f8bd645bfa7a189e619d29b5bc17e5",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/piqa/test.json",
        "dataset/piqa/test.json",
        "3860d11b9b42e590b6b4bbc1643214d373ed0b0d4ac62fcc7bdceb8e044ad141",
    ),
    blob(
        LLM_ADAPTERS,
        "dataset/social_i_qa/train.json",
        "dataset/social_i_qa/train.json",
        "bd524129d80efdfabc8476bbedc4f41b400cfda0",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/social_i_qa/test.json",
        "dataset/social_i_qa/test.json",
        "71543f41127451945379d106ffedaef502f1c8770dff6d2f543aca85e3080b1d",
    ),
    blob(
        LLM_ADAPTERS,
        "dataset/hellaswag/train.json",
        "dataset/hellaswag/train.json",
        "ca68dc85fc2a2f73c9b1b8b0823cc41a8f669718",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/hellaswag/test.json",
        "dataset/hellaswag/test.json",
        "3ea7e99795e63a01f2f5e9ddbc4dca964d9ebb22f04201e64d1ac043be51ab61",
    ),
    blob(
        LLM_ADAPTERS,
        "dataset/winogrande/train.json",
        "dataset/winogrande/train.json",
        "0b56375ac6b4464fa97abfb72812f15c772ba305",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/winogrande/test.json",
        "dataset/winogrande/test.json",
        "6946f5209e7114c65c6d04f8f644c5a061af20d730b1cfe158fff3dc44076fb9",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/ARC-Easy/train.json",
        "dataset/ARC-Easy/train.json",
        "6a06cece3dec32f4fb1c1b0fc29dab14be7cf3053b417290dbc6cd845359f5ff",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/ARC-Easy/test.json",
        "dataset/ARC-Easy/test.json",
        "3f32a84716ca6d57d38728bf80cc8117aecd17445c2cf29a68b571b810eb82dc",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/ARC-Challenge/train.json",
        "dataset/ARC-Challenge/train.json",
        "a9debff28aafed86a08211dc3584a3b6cb38edca8c56bb34cd5002ed54aeebfb",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/ARC-Challenge/test.json",
        "dataset/ARC-Challenge/test.json",
        "4a89ce368ae01a71d268d9851686738b2a0a1d84271116bab49a1dd2b48ecad7",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/openbookqa/train.json",
        "dataset/openbookqa/train.json",
        "a1e094eeea01f70c0baa880f37497b26700ae99b243927b9c529984de9b1fe90",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/openbookqa/test.json",
        "dataset/openbookqa/test.json",
        "8479930f7b8a26052c78250280b5465a4016ca7fc806af440d0f37e243f3099e",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/AQuA/test.json",
        "dataset/AQuA/test.json",
        "de677f5f0139340009eb01f17c0db781b4161912cd1f4efa77292f2fcf3478ee",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/gsm8k/test.json",
        "dataset/gsm8k/test.json",
        "2cc616a1e0b23ea1df29370476365cde71c4e0aa823fb06cc194c5a8a9381abe",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/mawps/test.json",
        "dataset/mawps/test.json",
        "c1a708979cbf2b3df9ac4020baacf3e8e73fcf089e1de7dd1b305b810bfaa15f",
    ),
    sha256(
        LLM_ADAPTERS,
        "dataset/SVAMP/test.json",
        "dataset/SVAMP/test.json",
        "ffed015784f738f317c5603177861d044c4fc94e09211d78b25e96d46c656e2c",
    ),
    blob(
        LLM_ADAPTERS,
        "ft-training_set/commonsense_170k.json",
        "ft-training_set/commonsense_170k.json",
        "529e426b33d4cdb1d0c4a275a1a7245ad081fd91",
    ),
    blob(
        LLM_ADAPTERS,
        "ft-training_set/math_10k.json",
        "ft-training_set/math_10k.json",
        "27dba77d6ed80aa118d78fbafa5cecd651f6d463",
    ),
    sha256(
        GRADE_SCHOOL_MATH,
        "grade_school_math/train.jsonl",
        "grade_school_math/data/train.jsonl",
        "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    ),
    sha256(
        GRADE_SCHOOL_MATH,
        "grade_school_math/test.jsonl",
        "grade_school_math/data/test.jsonl",
        "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    ),
    sha256(
        ALPACA_EVAL,
        "instruct/alpaca_eval/text_davinci_003/model_outputs.json",
        "results/text_davinci_003/model_outputs.json",
        "af0bc112f08c88bf589bbfe6fc1036806d0a0f6fec9c4d5a4db860f5afe73b4b",
    ),
    sha256(
        ALPACA_EVAL,
        "instruct/alpaca_eval/llama-2-7b-chat-hf/model_outputs.json",
        "results/llama-2-7b-chat-hf/model_outputs.json",
        "5a66ed18b1ecef7a6a728eb32665651853092cbf11d518538d80d86c2df1b5ae",
    ),
    sha256(
        SDFT,
        "instruct/alpaca_2k.json",
        "data/alpaca/alpaca_train.json",
        "8857456d329dd0a320a03273f4d837e750cb54bb8aee90fb886301fc95f77205",
    ),
    sha256(
        PYREFT,
        "instruct/ultrafeedback_1k.json",
        "examples/composition/ultrafeedback_1k.json",
        "f54fe5c80a0362d3fac8d5db1fef096ea52e5835de074ec6ef908faed2a98d91",
    ),
];

/// SHA-256 of some bytes.
pub fn sha256_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

impl Checksum {
    /// What is wrong with some bytes, in words.
    ///
    /// # Errors
    /// When they are others than those the checksum was made of.
    pub fn check(self, bytes: &[u8]) -> Result<(), String> {
        let (kind, expected, found) = match self {
            Self::Sha256(expected) => ("SHA-256", expected, sha256_of(bytes)),
            Self::GitBlob(expected) => {
                let header = format!("blob {}\0", bytes.len());
                let digest = Sha1::new().chain_update(header).chain_update(bytes).finalize();
                ("git blob", expected, format!("{digest:x}"))
            }
        };
        if found == expected { Ok(()) } else { Err(format!("its {kind} is {found} instead of {expected}")) }
    }
}

impl PinnedFile {
    /// The pin of a file in a data folder; none where it is not published.
    pub fn of(file: &str) -> Option<&'static Self> {
        FILES.iter().find(|pinned| pinned.file == file)
    }

    /// The address of its bytes.
    pub fn address(&self) -> String {
        let Repository { name, revision } = self.repository;
        format!("https://raw.githubusercontent.com/{name}/{revision}/{}", self.path)
    }

    /// The repository and the commit, as records name them.
    pub fn revision(&self) -> String {
        format!("{}@{}", self.repository.name, self.repository.revision)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_has_one_pin_with_a_whole_commit_and_a_whole_checksum() {
        let files: BTreeSet<&str> = FILES.iter().map(|pinned| pinned.file).collect();
        assert_eq!(files.len(), FILES.len());
        let is_hex = |text: &str, len| text.len() == len && text.chars().all(|c| c.is_ascii_hexdigit());
        for pinned in &FILES {
            assert!(is_hex(pinned.repository.revision, 40), "{pinned:?}");
            assert!(pinned.address().contains(pinned.repository.revision), "{pinned:?}");
            match pinned.checksum {
                Checksum::Sha256(sum) => assert!(is_hex(sum, 64), "{pinned:?}"),
                Checksum::GitBlob(sum) => assert!(is_hex(sum, 40), "{pinned:?}"),
            }
        }
        assert_eq!(PinnedFile::of("instruct/ultrafeedback.json"), None);
    }

    #[test]
    fn checksums_are_those_of_the_usual_tools() {
        // sha256sum and git hash-object of a file with these six bytes.
        let sha256 = Checksum::Sha256("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        let blob = Checksum::GitBlob("ce013625030ba8dba906f756967f9e9ca394464a");
        for checksum in [sha256, blob] {
            assert_eq!(checksum.check(b"hello\n"), Ok(()));
            let error = checksum.check(b"hello").expect_err("other bytes");
            assert!(error.contains("instead of"), "{error}");
        }
    }
}
