//! Synthetic packets through the live program (`BPF_PROG_TEST_RUN`).

use std::io;

use super::super::Kernel;
use crate::{daemon::sensor::Attachment, enforce::audit::synthetic::Answer};

impl Kernel {
    pub(super) fn ask_live(
        &mut self,
        attachment: &Attachment,
        _frame: &[u8],
    ) -> io::Result<Option<Answer>> {
        let _ = self.ingress_program(attachment);
        Ok(None)
    }
}
