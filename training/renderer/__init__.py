"""The neural renderer's training: data cooked from the studio, teacher, distillation, rollouts, sheets and export."""
