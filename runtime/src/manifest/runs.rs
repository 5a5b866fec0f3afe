//! Whether a node can run a manifest. Tools that only need its clusters or its functions take others too.

use super::{Errors, Manifest};

impl Manifest {
    /// Checks that a node has something to do. A file without any trigger is one that is still being
    /// written, or was emptied by mistake: taking it at its word would stop everything.
    ///
    /// # Errors
    ///
    /// One, if the manifest declares no trigger, or wants what a node cannot do yet.
    pub fn check_runs(&self) -> Result<(), Errors> {
        let path = self.path.display();
        for function in self.functions.values() {
            let unknown =
                [("rollout", function.rollout.is_some()), ("require-signature", function.require_signature.is_some())];
            if let Some((key, _)) = unknown.into_iter().find(|(_, is_set)| *is_set) {
                let title = format!(
                    "{path}: this version of Tidegate checks `{key}` of the function {}, and does not carry it out yet",
                    function.name
                );
                return Err(
                    Errors::about_file(&self.path, title).help("remove it: without it every revision serves at once")
                );
            }
        }
        if !self.triggers.is_empty() {
            return Ok(());
        }
        let title = if self.functions.is_empty() {
            format!("{path} declares no function and no trigger")
        } else {
            format!("{path} declares no trigger, so a node has nothing to do")
        };
        let help = "declare functions as [function.NAME] and what calls them as [trigger.NAME]; to stop what runs, \
                    stop the node";
        Err(Errors::about_file(&self.path, title).help(help))
    }
}
