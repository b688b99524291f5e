"""The model and the data of the scripts that train with Lightning, which import it as `lit`, and `torch`."""

MODEL = """
class Model(lit.LightningModule):
    def __init__(self, lr=0.125, net={"width": 8, "layers": [1, 2]}, fails=0):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(net["width"], 1)
    def step(self, batch, name):
        loss = self.layer(batch[0]).pow(2).mean()
        self.log(f"{name}/loss", loss)
        return loss
    def training_step(self, batch, number):
        if self.hparams.fails and self.global_step == self.hparams.fails:
            raise ValueError("no more data")
        return self.step(batch, "train")
    def validation_step(self, batch, number):
        self.step(batch, "val")
    def test_step(self, batch, number):
        self.step(batch, "test")
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

torch.manual_seed(0)
data = DataLoader(TensorDataset(torch.randn(64, 8)), batch_size=4)
"""
