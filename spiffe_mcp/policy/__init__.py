"""May this call be made? Input, decision, and the engines that decide."""
