//! `reft`: train, evaluate and inspect representation finetuning, and make the paper's tables.

use std::ffi::{c_char, c_int};

use reft_experiments::cli::Cli;
use reft_experiments::commands::arguments;
use reft_experiments::console;
use reft_experiments::machine::{openmp, preinit};
use reft_models::hub::HubError;
use reft_models::process;

/// Starts the program anew before libraries are set up, where libgomp needs variables.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)] // The section's name.
#[used]
#[unsafe(link_section = ".preinit_array")]
static BEFORE_LIBRARIES: process::LoaderCall = before_libraries;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)] // The loader's arrays, as they come.
extern "C" fn before_libraries(_: c_int, arguments: *const *const c_char, environment: *const *const c_char) {
    unsafe { process::start_anew(arguments, environment, preinit::changed) };
}

fn main() {
    reft_models::memory::keep_freed();
    // A panic is a defect of this program; its place is worth more to a user than a backtrace.
    std::panic::set_hook(Box::new(|info| {
        console::stderr(format_args!("error: internal error, please report it: {info}\n"));
    }));
    let outcome = std::panic::catch_unwind(|| {
        let cli = Cli::read();
        if cli.computes() {
            openmp::restart(cli.processes());
            openmp::limit_rayon();
        }
        cli.run()
    });
    process::end(match outcome {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            let remedy = match error.root_cause().downcast_ref() {
                Some(HubError::NotSetUp { alias, on_request: true, .. }) => {
                    format!("; `make model MODEL={alias}` downloads it")
                }
                Some(HubError::NotSetUp { .. }) => "; `make model` downloads it".to_owned(),
                _ => String::new(),
            };
            console::stderr(format_args!("error: {}{remedy}\n", console::in_a_line(&arguments::named(error))));
            1
        }
        Err(_) => 2,
    })
}
