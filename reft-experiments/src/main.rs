//! `reft`: train, evaluate and inspect representation finetuning, and make the paper's tables.

use std::process::ExitCode;

use reft_experiments::cli::Cli;
use reft_experiments::commands::arguments;
use reft_experiments::console;
use reft_experiments::machine::openmp;
use reft_models::hub::HubError;

fn main() -> ExitCode {
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
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            let remedy = match error.root_cause().downcast_ref() {
                Some(HubError::NotSetUp { alias, on_request: true, .. }) => {
                    format!("; `make model MODEL={alias}` downloads it")
                }
                Some(HubError::NotSetUp { .. }) => "; `make model` downloads it".to_owned(),
                _ => String::new(),
            };
            console::stderr(format_args!("error: {}{remedy}\n", console::in_a_line(&arguments::named(error))));
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::from(2),
    }
}
