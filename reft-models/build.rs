//! Compiles the CPU kernels (once for each instruction set, and once the part that needs libtorch's headers) and the process
//! group of data-parallel training.

use std::env;
use std::path::PathBuf;

/// The instruction sets that the program chooses from when it starts.
const X86: &[(&str, &[&str])] = &[
    ("generic", &[]),
    ("avx2", &["-mavx2", "-mfma"]),
    ("avx512", &["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"]),
];
const OTHER: &[(&str, &[&str])] = &[("generic", &[])];

/// Keeps what instruction sets could share out of their object files: the standard library's headers are not found, and
/// without exceptions there is no personality routine. `tests/instruction_sets.rs` looks at the symbols that are left.
const ALONE: [&str; 4] = ["-nostdinc++", "-fno-exceptions", "-fno-rtti", "-fvisibility=hidden"];

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-changed=distributed");
    let x86 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    for (set, flags) in if x86 { X86 } else { OTHER } {
        let mut build = compiler();
        // Sums are reordered only where the source says so; the compiler may not touch any other rounding.
        build.opt_level(3).flag("-fopenmp").flag("-fno-math-errno").flag("-fno-trapping-math").flag("-Wno-psabi");
        for flag in ALONE.iter().chain(*flags) {
            build.flag(flag);
        }
        build.define("REFT_SET", *set).file("kernels/kernels.cpp").compile(&format!("reft_kernels_{set}"));
    }
    let lib = PathBuf::from(env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is"));
    let include = lib.join("../include");
    let mut build = compiler();
    build.opt_level(1).include(&include).include(include.join("torch/csrc/api/include"));
    // libtorch's headers warn about themselves.
    build.warnings(false);
    build.clone().files(["kernels/autograd.cpp", "kernels/instruction_set.cpp"]).compile("reft_autograd");
    build.include("distributed").file("distributed/process_group.cpp").compile("reft_distributed");
    // The OpenMP library that libtorch brings, so that both share one set of threads.
    println!("cargo:rustc-link-lib=gomp");
}

fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").pic(true).debug(false).extra_warnings(true);
    build
}
