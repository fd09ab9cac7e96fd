//! The beginning and the end of a process that is linked with libtorch, whose constructors and destructors take two tenths and one tenth of a
//! second.

#![allow(unsafe_code)] // The loader's arrays, and the calls that replace and end the process.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io::Write;

/// What the loader calls of an executable's `.preinit_array`, before the constructors of any library: the number of arguments, and the
/// arrays of arguments and environment.
pub type LoaderCall = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Starts the program anew in the environment that `changed` gives for its arguments and environment, if it gives one; returns if it does
/// not or that fails. For use in a [`LoaderCall`].
///
/// # Safety
/// The arrays must be the loader's: pointers to texts, with a null at the end of each.
#[cfg(unix)]
pub unsafe fn start_anew(
    arguments: *const *const c_char,
    environment: *const *const c_char,
    changed: impl Fn(&[CString], &[CString]) -> Option<Vec<CString>>,
) {
    use std::os::unix::ffi::OsStringExt;

    let [arguments, environment] = [arguments, environment].map(|array| unsafe { texts(array) });
    let Some(environment) = changed(&arguments, &environment) else { return };
    let Ok(program) = std::env::current_exe() else { return };
    let Ok(program) = CString::new(program.into_os_string().into_vec()) else { return };
    let ended = |texts: &[CString]| -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (ended(&arguments), ended(&environment));
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
}

/// The texts of an array that ends with a null.
unsafe fn texts(array: *const *const c_char) -> Vec<CString> {
    let entries = (0..).map(|at| unsafe { *array.add(at) }).take_while(|entry| !entry.is_null());
    entries.map(|entry| unsafe { CStr::from_ptr(entry) }.to_owned()).collect()
}

/// Ends the process with this code, once what was printed is written. Destructors of libraries are not run: libtorch's take its operators
/// out of its tables one by one, after everything is done.
pub fn end(code: u8) -> ! {
    // A reader that is gone misses nothing.
    let _ = std::io::stdout().flush();
    unsafe { libc::_exit(code.into()) }
}
