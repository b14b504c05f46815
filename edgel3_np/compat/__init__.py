"""The interfaces of other packages (edgel3, openl3, HEAR and scikit-learn) on top of this engine."""
