//! Whether a node can run a manifest. Tools that only need its clusters or its functions take others too.

use super::{Errors, Manifest};

impl Manifest {
    /// Checks that a node has something to do. A file without any trigger is one that is still being
    /// written, or was emptied by mistake: taking it at its word would stop everything.
    ///
    /// # Errors
    ///
    /// One, if the manifest declares no trigger, or a rollout without [control].
    pub fn check_runs(&self) -> Result<(), Errors> {
        for function in self.functions.values() {
            if function.rollout.is_some() && self.control.is_none() {
                let path = self.path.display();
                let title =
                    format!("{path}: the function {} has a `rollout`, and there is no [control]", function.name);
                let help = "add [control] cluster = \"NAME\": by its topic the nodes agree about rollouts";
                return Err(Errors::about_file(&self.path, title).help(help));
            }
        }
        if !self.triggers.is_empty() {
            return Ok(());
        }
        let path = self.path.display();
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
