//! The process's title, as ps shows it: written over the area that held arguments and environment.

use std::ffi::OsString;
use std::io;
use std::sync::Mutex;

/// Where the kernel looks for the command line: it reads on past the arguments when their last byte
/// is not zero.
struct Area {
    start: *mut u8,
    length: usize,
}

// SAFETY: the area belongs to the process for its whole life, and the mutex below admits one writer
// at a time.
unsafe impl Send for Area {}

static AREA: Mutex<Option<Area>> = Mutex::new(None);

/// Takes the area for titles and returns the arguments, which `std::env::args` cannot tell
/// afterwards.
///
/// The environment moves elsewhere first. Call it before there are threads; without it, [`set`]
/// does nothing.
pub fn claim() -> io::Result<Vec<OsString>> {
    let arguments = std::env::args_os().collect();
    crate::environment::replace(&std::env::vars_os().collect::<Vec<_>>())?;
    if let Some(area) = find_area()? {
        *AREA.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(area);
    }
    Ok(arguments)
}

/// Shows `title`, cut where the area ends.
pub fn set(title: &str) {
    let mut area = AREA.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let Some(area) = area.as_mut() else {
        return;
    };
    // SAFETY: `find_area` got the bounds of the process's own writable stack from the kernel. After
    // `claim` nobody reads it but the kernel and `std::env::args`, which finds terminated strings:
    // the last byte stays zero.
    let bytes = unsafe { std::slice::from_raw_parts_mut(area.start, area.length) };
    let length = title.len().min(bytes.len() - 1);
    bytes[..length].copy_from_slice(&title.as_bytes()[..length]);
    bytes[length..].fill(0);
}

/// From the first argument to the end of the environment, see proc_pid_stat(5) fields 48 to 51.
fn find_area() -> io::Result<Option<Area>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses, and may hold anything.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<usize> =
        after_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    let (start, arguments_end, environment_start, end) =
        (field(48), field(49), field(50), field(51));
    if start == 0 || arguments_end <= start {
        return Ok(None);
    }
    let end =
        if environment_start == arguments_end && end > arguments_end { end } else { arguments_end };
    Ok(Some(Area { start: std::ptr::with_exposed_provenance_mut(start), length: end - start }))
}
