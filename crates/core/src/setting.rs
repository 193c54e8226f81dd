//! Settings that know whether anyone set them, and how they pass from a block to the blocks inside it.

use std::ops::Deref;

/// A configured value with its default: reads as the value, remembers whether it was set here or above.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setting<T> {
    value: T,
    is_set: bool,
}

impl<T> Setting<T> {
    pub const fn new(default: T) -> Self {
        Setting { value: default, is_set: false }
    }

    /// Records a value; the error is nginx's reason for a second one in the same block.
    pub fn set(&mut self, value: T) -> Result<(), &'static str> {
        if self.is_set {
            return Err("is duplicate");
        }
        self.replace(value);
        Ok(())
    }

    /// Records a value whether or not there was one.
    pub fn replace(&mut self, value: T) {
        self.value = value;
        self.is_set = true;
    }

    pub fn is_set(&self) -> bool {
        self.is_set
    }

    /// For values that several directives build up, such as lists.
    pub fn modify(&mut self) -> &mut T {
        self.is_set = true;
        &mut self.value
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What a block takes from the block around it where it says nothing itself.
pub trait Inherit {
    fn inherit(&mut self, outer: &Self);
}

impl<T: Clone> Inherit for Setting<T> {
    fn inherit(&mut self, outer: &Self) {
        if !self.is_set {
            self.clone_from(outer);
        }
    }
}

/// Never inherited: what belongs to one block alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own<T>(pub T);

impl<T> Inherit for Own<T> {
    fn inherit(&mut self, _: &Self) {}
}

/// Declares a module's settings: a struct of [`Setting`]s with defaults, inherited field by field.
///
/// A field with `= default` becomes a `Setting<T>`; one without keeps its own type, which says how it inherits.
#[macro_export]
macro_rules! settings {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty $(= $default:expr)?,)*
    }) => {
        $(#[$attribute])*
        $visibility struct $name {
            $($(#[$doc])* pub $field: $crate::settings!(@type $type $(, $default)?),)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $crate::settings!(@default $($default)?),)* }
            }
        }

        impl $crate::setting::Inherit for $name {
            fn inherit(&mut self, outer: &Self) {
                $($crate::setting::Inherit::inherit(&mut self.$field, &outer.$field);)*
            }
        }
    };
    (@type $type:ty, $default:expr) => { $crate::setting::Setting<$type> };
    (@type $type:ty) => { $type };
    (@default $default:expr) => { $crate::setting::Setting::new($default) };
    (@default) => { Default::default() };
}

#[cfg(test)]
mod tests {
    use super::*;

    settings! {
        struct Sample {
            depth: u32 = 3,
            own: Own<u32>,
        }
    }

    #[test]
    fn unset_values_come_from_the_outer_block() {
        let mut outer = Sample::default();
        outer.depth.set(7).unwrap();
        outer.own.0 = 1;
        let mut inner = Sample::default();
        assert_eq!(*inner.depth, 3);
        inner.inherit(&outer);
        assert_eq!((*inner.depth, inner.own.0), (7, 0));
    }

    #[test]
    fn a_second_value_is_a_duplicate() {
        let mut depth = Setting::new(1);
        assert_eq!(depth.set(2), Ok(()));
        assert_eq!(depth.set(3), Err("is duplicate"));
        assert_eq!(*depth, 2);
    }
}
