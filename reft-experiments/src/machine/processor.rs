//! Which processor this is, and whether products in bf16 are fast on it.

use std::path::Path;

use super::Env;

/// Instructions that multiply bf16 numbers and sum in f32.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bf16Products {
    /// x86: `VDPBF16PS` on vectors of 512 bits.
    Avx512,
    /// x86: tiles.
    Amx,
    /// Arm: `BFMMLA` and `BFDOT`.
    Arm,
}

impl Bf16Products {
    /// Its name in the vendors' manuals.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX512-BF16",
            Self::Amx => "AMX-BF16",
            Self::Arm => "FEAT_BF16",
        }
    }
}

/// What is known of the processor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuInfo {
    /// Its name; the architecture's where it does not tell.
    pub name: String,
    /// Its instructions for products in bf16; none without such.
    pub bf16: Option<Bf16Products>,
}

impl CpuInfo {
    /// From the text of `/proc/cpuinfo`. A feature counts if all of the listed processors have it.
    pub fn parse(cpuinfo: &str) -> Self {
        let values = |key: &'static str| cpuinfo.lines().filter_map(move |line| value(line, key));
        let name = ["model name", "Model", "cpu model"].iter().find_map(|key| values(key).next());
        let features: Vec<&str> = values("flags").chain(values("Features")).collect();
        let has = |feature: &str| {
            !features.is_empty() && features.iter().all(|line| line.split_whitespace().any(|word| word == feature))
        };
        let bf16 =
            [("avx512_bf16", Bf16Products::Avx512), ("amx_bf16", Bf16Products::Amx), ("bf16", Bf16Products::Arm)]
                .into_iter()
                .find_map(|(feature, products)| has(feature).then_some(products));
        Self { name: name.unwrap_or(std::env::consts::ARCH).to_owned(), bf16 }
    }

    /// The processor of the machine with this root; where it has no `/proc/cpuinfo`, what the processor itself tells.
    pub fn of(root: &Path) -> Self {
        match std::fs::read_to_string(root.join("proc/cpuinfo")) {
            Ok(text) => Self::parse(&text),
            Err(_) => Self { name: std::env::consts::ARCH.to_owned(), bf16: told() },
        }
    }

    /// The instructions for products in bf16 that libtorch and oneDNN use: those that the processor has and the environment
    /// leaves them; or why there are none.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn usable_bf16(&self, env: Env<'_>) -> Result<Bf16Products, String> {
        let Some(products) = self.bf16 else { return Err("this processor has no fast bf16 products".to_owned()) };
        match kept_from(env).filter(|_| products != Bf16Products::Arm) {
            Some(limit) => Err(format!("{limit} keeps libtorch from this processor's {}", products.name())),
            None => Ok(products),
        }
    }
}

/// The value of a line `key : value`.
fn value<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    let (name, value) = line.split_once(':')?;
    (name.trim() == key).then(|| value.trim())
}

/// Instruction sets that oneDNN can be limited to and that have no products in bf16. Names that it does not know it ignores.
const WITHOUT_BF16: [&str; 7] = ["sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core", "avx512_core_vnni"];

/// The variable that limits libtorch or oneDNN to an x86 instruction set without products in bf16, as `NAME=value`.
fn kept_from(env: Env<'_>) -> Option<String> {
    let limits = [
        ("ONEDNN_MAX_CPU_ISA", &WITHOUT_BF16[..]),
        ("DNNL_MAX_CPU_ISA", &WITHOUT_BF16[..]),
        ("ATEN_CPU_CAPABILITY", &["default", "avx2"][..]),
    ];
    limits.into_iter().find_map(|(name, lesser)| {
        let value = env(name)?;
        lesser.iter().any(|set| value.eq_ignore_ascii_case(set)).then(|| format!("{name}={value}"))
    })
}

/// What the processor that this program runs on says of itself.
fn told() -> Option<Bf16Products> {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16").then_some(Bf16Products::Avx512);
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("bf16").then_some(Bf16Products::Arm);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn x86(flags: &str) -> CpuInfo {
        CpuInfo::parse(&format!(
            "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx2 {flags}\nbugs\t\t: bf16\n"
        ))
    }

    #[test]
    fn bf16_products_are_those_that_every_core_has() {
        assert_eq!(x86("avx512f").bf16, None);
        assert_eq!(x86("avx512f avx512_bf16").bf16, Some(Bf16Products::Avx512));
        assert_eq!(x86("amx_tile amx_bf16").bf16, Some(Bf16Products::Amx));
        assert_eq!(x86("").name, "Some CPU @ 2 GHz");
        let arm = |second: &str| {
            CpuInfo::parse(&format!("processor: 0\nFeatures : fp asimd bf16\n\nprocessor: 1\nFeatures : fp {second}\n"))
        };
        assert_eq!((arm("bf16").bf16, arm("asimd").bf16), (Some(Bf16Products::Arm), None));
        assert_eq!(arm("bf16").name, std::env::consts::ARCH);
        assert_eq!(CpuInfo::parse("").bf16, None);
    }

    #[test]
    fn instruction_sets_disabled_by_environment_variables_do_not_count() {
        let usable = |processor: &CpuInfo, variables: &[(&str, &str)]| {
            processor.usable_bf16(&testing::env(variables)).map_err(|reason| reason.contains(variables[0].0))
        };
        let (fast, arm) = (x86("avx512_bf16"), CpuInfo::parse("Features: bf16\n"));
        for limit in ["AVX2", "avx512_core", "AVX512_CORE_VNNI", "sse41"] {
            assert_eq!(usable(&fast, &[("ONEDNN_MAX_CPU_ISA", limit)]), Err(true), "{limit}");
            assert_eq!(usable(&fast, &[("DNNL_MAX_CPU_ISA", limit)]), Err(true), "{limit}");
            assert_eq!(usable(&arm, &[("ONEDNN_MAX_CPU_ISA", limit)]), Ok(Bf16Products::Arm), "{limit}");
        }
        for limit in ["DEFAULT", "avx512_core_bf16", "AVX512_CORE_AMX", "nonsense"] {
            assert_eq!(usable(&fast, &[("ONEDNN_MAX_CPU_ISA", limit)]), Ok(Bf16Products::Avx512), "{limit}");
        }
        assert_eq!(usable(&fast, &[("ATEN_CPU_CAPABILITY", "avx2")]), Err(true));
        assert_eq!(usable(&fast, &[("ATEN_CPU_CAPABILITY", "avx512")]), Ok(Bf16Products::Avx512));
        let slow = x86("").usable_bf16(&testing::env(&[])).expect_err("none");
        assert_eq!(slow, "this processor has no fast bf16 products");
    }
}
