//! Flow control (RFC 9113, section 5.2).

use super::frame::MOST;

/// What may still be sent, or be received. A change of SETTINGS_INITIAL_WINDOW_SIZE can make it
/// negative: whoever has sent 65,535 bytes and learns that it was to be 10 has to wait for 65,525
/// bytes of updates and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(i32);

/// The window would be larger than 2^31 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Window {
    /// What both sides begin with.
    pub const INITIAL: u32 = 65_535;

    pub fn new(size: u32) -> Window {
        debug_assert!(size <= MOST);
        Window(size as i32)
    }

    pub fn open(self) -> usize {
        self.0.max(0) as usize
    }

    pub fn widen(&mut self, increment: u32) -> Result<(), Overflow> {
        self.shift(increment.into())
    }

    /// Takes over a new initial size.
    pub fn resize(&mut self, old: u32, new: u32) -> Result<(), Overflow> {
        self.shift(i64::from(new) - i64::from(old))
    }

    fn shift(&mut self, by: i64) -> Result<(), Overflow> {
        let size = i64::from(self.0) + by;
        // It can't be less than -(2^31 - 1): it was zero or more when the last byte was sent.
        self.0 = i32::try_from(size).map_err(|_| Overflow)?;
        Ok(())
    }

    /// Takes away what a frame has used, if there is as much.
    pub fn take(&mut self, length: u32) -> Result<(), Overflow> {
        match i64::from(self.0) - i64::from(length) {
            left @ 0.. => self.0 = left as i32,
            // An empty frame passes whatever the window is.
            _ if length == 0 => {}
            _ => return Err(Overflow),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_a_largest_size() {
        let mut window = Window::new(Window::INITIAL);
        assert_eq!(window.widen(MOST - Window::INITIAL), Ok(()));
        assert_eq!(window.open(), MOST as usize);
        assert_eq!(window.widen(1), Err(Overflow));
        assert_eq!(window.resize(0, 1), Err(Overflow));
        assert_eq!(window.take(MOST), Ok(()));
        assert_eq!(window.take(1), Err(Overflow));
        assert_eq!(window.take(0), Ok(()));
    }

    #[test]
    fn windows_become_negative_by_settings() {
        let mut window = Window::new(Window::INITIAL);
        window.take(Window::INITIAL).unwrap();
        window.resize(Window::INITIAL, 10).unwrap();
        assert_eq!((window.open(), window.0), (0, -65_525));
        assert_eq!((window.take(0), window.take(1)), (Ok(()), Err(Overflow)));
        window.widen(65_525).unwrap();
        assert_eq!(window.open(), 0);
        window.widen(1).unwrap();
        assert_eq!(window.open(), 1);
        let mut lowest = Window::new(MOST);
        lowest.take(MOST).unwrap();
        lowest.resize(MOST, 0).unwrap();
        assert_eq!(lowest.0, -i32::MAX);
    }
}
