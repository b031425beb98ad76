//! Keys whose behaviour is not built yet are refused before a run exists, each by its name and place.

use crate::runbook::model::{Runbook, Unbuilt};

/// Empty when the whole runbook can be carried out.
pub fn unbuilt(runbook: &Runbook) -> &[Unbuilt] {
    &runbook.unbuilt
}
