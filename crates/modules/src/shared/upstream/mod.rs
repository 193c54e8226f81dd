//! `upstream`: groups of servers, whatever protocol they speak.

pub mod keepalive;
pub mod methods;
mod server;
pub mod state;
pub mod zone;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Contexts, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::settings;
use daemun_upstream::{Definition, Sticky, define_group, describe_group};

pub use server::server;

settings! {
    /// The block `upstream` that is being read.
    pub struct Settings {
        draft: Own<Draft>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

/// A group as far as it has been read.
#[derive(Clone, Default)]
pub struct Draft {
    pub definition: Definition,
    /// The method that stands above allows no `backup`.
    refuses_backups: bool,
    /// The servers stand in a file.
    has_state: bool,
}

/// `upstream NAME { … }`.
pub fn upstream(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let id = define_group(loader, &word.to_str_lossy(), word.span)?;
    loader.enter(Contexts::UPSTREAM, directive);
    let draft = &mut loader.entered().settings.of_mut(&SETTINGS).draft.0;
    let definition = std::mem::take(&mut draft.definition);
    describe_group(loader, id, definition);
    // a server that could not be read has been complained about
    let mut block = directive.block.iter();
    match block.find(|block| {
        !block.directives.iter().any(|line| line.name == "server" || line.name == "state")
    }) {
        Some(block) => {
            let sentence = "no servers are inside upstream".to_owned();
            Err(Fault::from(sentence).at(block.close))
        }
        None => Ok(()),
    }
}

/// Records `sticky`, which a zone of sessions can serve in one group only.
pub fn set_sticky(loader: &mut Loader<'_>, sticky: Sticky) -> Result<(), Fault> {
    if draft(loader).definition.sticky.is_some() {
        return Err("is duplicate".into());
    }
    if let Sticky::Learned(learn) = &sticky {
        let name = loader.block().header.as_ref().map(|header| header.args[0].to_string());
        let name = name.unwrap_or_default();
        let users = &mut loader.notes::<SessionZones>().0;
        let zone = learn.zone.name();
        if let Some((_, user)) = users.iter().find(|(known, _)| known == zone) {
            let sentence = format!("sticky zone \"{zone}\" is already used in upstream \"{user}\"");
            return Err(sentence.into());
        }
        users.push((zone.to_owned(), name));
    }
    draft(loader).definition.sticky = Some(sticky);
    Ok(())
}

/// The zones of `sticky learn`, with the groups that use them.
#[derive(Default)]
struct SessionZones(Vec<(String, String)>);

/// What has been read of the group.
fn draft<'l>(loader: &'l mut Loader<'_>) -> &'l mut Draft {
    &mut loader.settings(&SETTINGS).draft.0
}
